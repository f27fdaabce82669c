"""Outcomes, and the transactions that commit them together with the positions."""
