"""What edges and routers must agree on: topics, envelopes, control messages and placement."""
