"""The client of the PIM behind real servers and proxies, and ingress with real senders."""
