"""Sockets and turns, without a protocol: the poller, listeners, addresses, TLS."""
