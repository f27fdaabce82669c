"""Mirrors service/adapters/media."""
