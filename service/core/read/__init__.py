"""Turn a record into a command, or into a rejection with its reason."""
