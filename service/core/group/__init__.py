"""Changes of a family are collected, and those of one asset become the fewest writes."""
