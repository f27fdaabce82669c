"""Real parts on a bare machine: embedded Kafka and a PIM simulator (architecture.md D9)."""
