"""Which request to the PIM goes next, and what its answer means."""
