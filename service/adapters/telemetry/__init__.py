"""Logs and meters: one function a fact."""
