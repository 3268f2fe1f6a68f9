"""RTMP itself: handshake, chunks, control and command messages, and the session over them."""
