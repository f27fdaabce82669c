"""The neighbours, one folder each; siblings do not know one another."""
