"""The service's own port, and the pages on it."""
