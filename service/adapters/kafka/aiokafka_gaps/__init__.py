"""Replacements for what aiokafka 0.14 lacks; they use its private parts."""
