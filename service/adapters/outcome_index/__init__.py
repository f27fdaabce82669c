"""The index of outcomes in SQLite, which the console searches.

It is a row of *segments*, each a SQLite file of its own. Outcomes are added to the newest segment
alone, so inserting stays within a few MiB of B-trees, however large the index is. The oldest
outcomes are dropped by deleting the oldest file.
"""
