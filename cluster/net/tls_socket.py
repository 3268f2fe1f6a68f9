"""A TLS connection that behaves as the non-blocking TCP socket a ``Connection`` expects.

OpenSSL differs from a socket in three ways that matter here, and ``TlsSocket`` hides them:

- It decrypts a record at a time and may hold plain bytes that no poller sees. A read goes on while a
  whole record fits, so OpenSSL is left with none.
- It encrypts a record at a time. A write goes on until all is written or the socket is full.
- A record that was encrypted but not sent must be offered again with the same bytes, and our callers
  may by then have something else to send (a slow player is moved on). So such a record counts as sent
  except for its last byte: the caller keeps that byte, waits until the socket takes bytes again, and
  goes on with it, which is the sign to send the record first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import ssl
from collections.abc import Callable, Iterator, Sequence

from cluster.core.message import Buffer

#: The most plain bytes in one record (RFC 8446, section 5.1).
MAX_RECORD_BYTES = 16_384
#: What is read of a peer that speaks no TLS: the request of a browser.
_UNREAD_BYTES = 16 * 1024
#: Records decrypted in one read. A peer chooses their size, and each costs much the same: one byte in
#: each would make a read of 256 KiB last a tenth of a second. The rest stays in the kernel, readable.
MAX_RECORDS_PER_READ = 128


class TlsSocket:
    """The server's side of a connection, over a non-blocking TCP socket, which it takes over.

    Errors are those of a socket: BlockingIOError when it would have to wait, another OSError (such as
    ssl.SSLError) when the connection is broken.
    """

    __slots__ = ("_held", "_read", "_says_goodbye", "_socket", "_write")

    def __init__(self, accepted: socket.socket, context: ssl.SSLContext) -> None:
        """Raises OSError if the peer is gone already; ``accepted`` is closed then."""
        try:
            self._socket = context.wrap_socket(accepted, server_side=True, do_handshake_on_connect=False)
        except (OSError, ValueError):
            accepted.close()
            raise
        self._read: Callable[[memoryview, int], int] = self._socket.recv_into
        self._write = self._socket.send
        self._held = b""
        self._says_goodbye = False

    def peek(self) -> bytes:
        """The peer's first byte, before the handshake; b"" at its end. BlockingIOError if there is none."""
        return socket.socket.recv(self._socket, 1, socket.MSG_PEEK)

    def answer_plainly(self, answer: bytes) -> None:
        """To a peer that speaks no TLS, before ``close``. What it has said is read first: else the kernel
        would reset the connection, and the peer not see the answer."""
        with contextlib.suppress(OSError):
            socket.socket.recv(self._socket, _UNREAD_BYTES)
            socket.socket.send(self._socket, answer)
            socket.socket.shutdown(self._socket, socket.SHUT_WR)

    def do_handshake(self) -> None:
        """Go on with the handshake: returns when it is done, ssl.SSLWantReadError or
        ssl.SSLWantWriteError when the peer has to do something first."""
        self._socket.do_handshake()
        self._says_goodbye = True

    @property
    def version(self) -> str | None:
        """Such as "TLSv1.3"; None before the handshake is done."""
        return self._socket.version()

    @property
    def alpn(self) -> str:
        """What the peer has agreed to speak (RFC 7301); "" if that was not talked about."""
        return self._socket.selected_alpn_protocol() or ""

    def fileno(self) -> int:
        return self._socket.fileno()

    def setsockopt(self, level: int, option: int, value: int) -> None:
        self._socket.setsockopt(level, option, value)

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return self._socket.getsockopt(level, option, size)

    def recv_into(self, buffer: memoryview) -> int:
        """The bytes put into ``buffer``, which must have room for a record; 0 at the peer's end."""
        count = 0
        size = len(buffer)
        try:
            for _ in range(MAX_RECORDS_PER_READ):
                if size - count < MAX_RECORD_BYTES:
                    return count
                got = self._read(buffer[count:], size - count)
                if not got:
                    break
                count += got
            else:
                return count
        except (ssl.SSLWantReadError, BlockingIOError):
            if not count:
                raise BlockingIOError from None
            return count
        except OSError as error:
            if not count:
                raise
            self._end_after_this(error)
            return count
        if count:
            self._end_after_this(None)
        return count

    def _end_after_this(self, error: OSError | None) -> None:
        """The peer's end, or an error, came behind bytes that are to be handled first."""
        ended_by = [] if error is None else [error]

        def read(buffer: memoryview, size: int) -> int:
            if ended_by:
                raise ended_by.pop()  # not kept: its traceback leads back to this function
            return 0

        self._read = read
        # A peer that says goodbye and stays connected makes nothing readable: ending our own reading
        # side does, and we are asked to read again.
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket, socket.SHUT_RD)

    def send(self, data: Buffer) -> int:
        """How many bytes of ``data`` count as sent; see above for the last byte of a record."""
        sent = self._send_held()
        size = len(data)
        rest = memoryview(data)
        while sent < size:
            record = rest[sent : sent + MAX_RECORD_BYTES]
            try:
                sent += self._write(record)
            except ssl.SSLWantWriteError:
                self._held = bytes(record)
                sent += len(record) - 1
                if not sent:
                    raise BlockingIOError from None
                break
        return sent

    def _send_held(self) -> int:
        """Send the record that waits; how many bytes at the start of the next data were in it."""
        if not self._held:
            return 0
        try:
            self._write(self._held)
        except ssl.SSLWantWriteError:
            raise BlockingIOError from None
        self._held = b""
        return 1

    def sendmsg(self, buffers: Sequence[Buffer]) -> int:
        """Send all ``buffers`` in a row, as ``send`` does one; small ones share a record."""
        total = 0
        for data in _joined(buffers):
            try:
                sent = self.send(data)
            except BlockingIOError:
                if not total:
                    raise
                break
            total += sent
            if sent < len(data):
                break
        return total

    def shutdown(self, how: int) -> None:
        """Say goodbye (RFC 8446, section 6.1) and end our sending side; what is read from here on is
        not decrypted any more, only there to be forgotten."""
        if self._says_goodbye:
            self._says_goodbye = False
            with contextlib.suppress(OSError):  # such as: the peer has not said goodbye yet
                self._socket.unwrap()
            self._read = self._read_raw
        socket.socket.shutdown(self._socket, how)  # SSLSocket's own would forget its TLS state

    def _read_raw(self, buffer: memoryview, size: int) -> int:
        return socket.socket.recv_into(self._socket, buffer, size)

    def close(self) -> None:
        self._socket.close()
        self._read = _read_closed  # what it is once the end has come leads back to this object


def _read_closed(buffer: memoryview, size: int) -> int:
    raise OSError(errno.EBADF, os.strerror(errno.EBADF))


def _joined(buffers: Sequence[Buffer]) -> Iterator[Buffer]:
    """``buffers`` in the same order, neighbours joined until they fill a record."""
    waiting: list[Buffer] = []
    size = 0
    for buffer in buffers:
        waiting.append(buffer)
        size += len(buffer)
        if size >= MAX_RECORD_BYTES:
            yield waiting[0] if len(waiting) == 1 else b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)
