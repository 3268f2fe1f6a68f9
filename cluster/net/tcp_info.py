"""What the kernel has counted of a TCP connection: it costs those who send nothing."""

from __future__ import annotations

import socket
import struct
from typing import Protocol

#: ``struct tcp_info`` of Linux 4.19 and later (include/uapi/linux/tcp.h): tcpi_bytes_sent and
#: tcpi_bytes_retrans, two numbers of 64 bits behind 200 bytes.
_SENT = struct.Struct("=QQ")
_SENT_AT = 200

#: tcpi_last_data_recv, in milliseconds, behind 52 bytes. The kernel counts it in ticks, of 4 ms as a rule.
_SILENT = struct.Struct("=I")
_SILENT_AT = 52


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


def silent_s(connection: _Asked) -> float:
    """How long ago the last data came in, read or not; 0 where the kernel does not say."""
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _SILENT_AT + _SILENT.size)
    except (OSError, AttributeError):
        return 0.0
    if len(info) < _SILENT_AT + _SILENT.size:
        return 0.0
    return float(_SILENT.unpack_from(info, _SILENT_AT)[0]) / 1000
