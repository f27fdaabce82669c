"""Webhooks: the signature schemes of the DAMs, and what a request becomes. No I/O, no clock.

`schemes` has one file for each scheme. A scheme judges a delivery; where it needs a key that its
owner publishes, it says which, and judges again with the key.
"""
