"""The published language: what others send us and what we promise them."""
