"""Measured comparisons with other servers, on one machine, in one run: ``python -m benchmarks.compare``."""
