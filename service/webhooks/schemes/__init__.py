"""The signature schemes, one file each. Nothing that a stranger sends makes them raise."""
