"""Mirrors service/core."""
