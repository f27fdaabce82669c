"""The HTTP port of the service: health checks, metrics and pages."""
