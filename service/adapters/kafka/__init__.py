"""Kafka: the consumer and its assignment, transactions, and what aiokafka lacks for them."""
