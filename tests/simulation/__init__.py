"""Whole worlds around the pure core, each from one seed, judged by a second, simpler model."""
