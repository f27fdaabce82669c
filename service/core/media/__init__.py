"""Decide which files of assets are fetched and uploaded, when, and what the PIM has already."""
