"""Calls that failed: whose failure it is, and when they are tried again."""
