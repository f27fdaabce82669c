"""The programs: each wires its parts together."""
