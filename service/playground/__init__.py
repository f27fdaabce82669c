"""Real parts on a bare machine: an embedded Kafka broker and a PIM simulator (design D9, D10)."""
