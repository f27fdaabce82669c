"""The chart and the image on a real Kubernetes: what only a cluster can show."""
