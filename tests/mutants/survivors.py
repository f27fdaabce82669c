"""Mutants that no test finds, and why that is as it should be."""

SURVIVORS: dict[str, str] = {}
