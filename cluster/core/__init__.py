"""The protocol and the stream, as values: no socket, no clock, no randomness, no I/O of any kind."""
