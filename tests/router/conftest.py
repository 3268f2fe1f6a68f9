"""No test here may leave a ZeroMQ socket open."""

from support.sockets import no_socket_left_open

__all__ = ["no_socket_left_open"]
