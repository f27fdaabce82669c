"""The pure core: all rules of asset-sync, from the record to its outcome.

It does no I/O, reads no clock, writes no log and uses no framework: data goes in, data comes out.
"""
