"""The image as Kubernetes would run it: read-only, non-root, against a broker in a container."""
