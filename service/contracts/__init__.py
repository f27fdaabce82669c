"""The public event formats: the events that asset-sync reads and the outcomes that it writes."""
