"""Mirrors service/mapping."""
