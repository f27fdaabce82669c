"""The chart, its alerts and its dashboard."""
