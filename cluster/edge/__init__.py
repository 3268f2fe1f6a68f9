"""An edge node: the supervisor, its workers, and everything that touches an RTMP socket."""
