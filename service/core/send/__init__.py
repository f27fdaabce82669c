"""Decide which request to the PIM is sent next, and what its answer means."""
