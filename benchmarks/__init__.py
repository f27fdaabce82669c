"""What it costs: measured in one run, on this machine, as ratios (`make bench`)."""
