"""A record becomes a command, or a rejection with its reason."""
