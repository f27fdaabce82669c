"""Kafka: the door in, the assignment, the transactional log out, and the fencing layer."""
