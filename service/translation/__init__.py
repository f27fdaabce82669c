"""From mapped records to change events and outcomes: pure, without I/O, clock or framework."""
