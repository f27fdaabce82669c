"""Mirrors service/mapping/file."""
