"""The same bridge built with what a user would pick instead, and measured beside asset-sync."""
