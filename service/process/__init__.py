"""The process around a program: its signals, its exit code and its end in time.

This file imports nothing, because `early_signals` has to be imported before everything else.
"""
