"""What the kernel says of a connection."""

from __future__ import annotations

import socket
import time

from cluster.net import tcp_info

#: The kernel counts in ticks of its clock.
TICK_S = 0.01


def test_how_long_ago_the_last_data_came() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    with near, far:
        first_at = time.monotonic()
        far.sendall(b"x")
        time.sleep(0.05)
        assert 0.05 - TICK_S <= tcp_info.silent_s(near) <= time.monotonic() - first_at + TICK_S
        near.recv(10)
        assert 0.05 - TICK_S <= tcp_info.silent_s(near) <= time.monotonic() - first_at + TICK_S
        second_at = time.monotonic()
        far.sendall(b"x")
        near.recv(10)
        assert tcp_info.silent_s(near) <= time.monotonic() - second_at + TICK_S


def test_what_is_no_tcp_says_nothing() -> None:
    near, far = socket.socketpair()
    with near, far:
        assert tcp_info.silent_s(near) == 0.0
    assert tcp_info.silent_s(near) == 0.0


class Short:
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes:
        return b"\0" * 8


def test_a_kernel_that_says_less() -> None:
    assert tcp_info.silent_s(Short()) == 0.0
