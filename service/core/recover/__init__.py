"""Decide whose failure a failed call is, and when the call is sent again."""
