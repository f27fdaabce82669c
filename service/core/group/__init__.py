"""Collect the changes of a family, and merge those of one asset into few writes."""
