"""Mirrors service/translation."""
