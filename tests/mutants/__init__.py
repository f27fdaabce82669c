"""A mutation check: small bugs, put in one at a time, and which test found each."""
