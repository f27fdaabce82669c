"""The service as processes, on real Kafka."""
