"""The public event formats: the events that asset-sync reads and the outcomes that it writes.

`text` and `json_flaw` hold what every reader of foreign text needs.
"""
