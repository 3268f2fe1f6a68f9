"""A router: the bus that fans media out, and the registry that knows who publishes what."""
