"""What tests share: a broker, a running service, a reader of outcomes."""
