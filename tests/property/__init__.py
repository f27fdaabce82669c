"""One property a promise."""
