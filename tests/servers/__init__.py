"""The client of the PIM behind real servers and proxies; .ci/tools installs them."""
