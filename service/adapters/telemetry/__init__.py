"""Logs, metrics, traces, health checks and the status page."""
