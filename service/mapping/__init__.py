"""The sources file and what it makes of a raw record: pure, without I/O, clock or framework."""
