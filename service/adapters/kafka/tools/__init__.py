"""Kafka for the commands, outside the running service."""
