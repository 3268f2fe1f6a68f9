"""What the kernel has counted of a TCP connection: it costs those who send nothing."""

from __future__ import annotations

import fcntl
import socket
import struct
import termios
from typing import Protocol

#: ``struct tcp_info`` of Linux 4.19 and later (include/uapi/linux/tcp.h): tcpi_bytes_sent and
#: tcpi_bytes_retrans, two numbers of 64 bits behind 200 bytes.
_SENT = struct.Struct("=QQ")
_SENT_AT = 200
#: What SIOCOUTQ (tcp(7)) answers with.
_COUNT = struct.Struct("=i")


class _Asked(Protocol):
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


def bytes_sent(connection: _Asked) -> int | None:
    """Bytes that were sent, each counted once; None where the kernel does not say: not Linux, not TCP."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SENT_AT + _SENT.size)
    except (OSError, AttributeError):
        return None
    if len(info) < _SENT_AT + _SENT.size:
        return None
    sent, repeated = _SENT.unpack_from(info, _SENT_AT)
    return int(sent - repeated)


def bytes_unacknowledged(fd: int) -> int:
    """Bytes in the kernel's send queue, sent or not, that the peer has not acknowledged; 0 if unknown."""
    try:
        return int(_COUNT.unpack(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(_COUNT.size)))[0])
    except (OSError, ValueError):  # the latter: it is closed
        return 0
