"""One node of Kubernetes on this machine, which leaves nothing behind (needs root and Linux)."""
