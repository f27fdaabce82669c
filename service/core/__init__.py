"""The pure core: decode, convert, window, coalesce, verdict, report, ledger.

No I/O, no clock, no log, no framework: data in, data out.
"""
