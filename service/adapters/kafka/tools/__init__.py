"""What the commands do with Kafka, outside the running service."""
