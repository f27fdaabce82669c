"""Mirrors service/."""
