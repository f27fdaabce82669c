"""The files that `asset-sync init` writes: a start to adapt, for this machine and for a cluster."""
