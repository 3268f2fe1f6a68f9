"""Every performance figure of this server, measured on one machine in one run: ``python -m benchmarks``."""
