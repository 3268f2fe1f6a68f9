"""What the supervisor says to a worker, through a pipe that takes less than a line."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from cluster.edge.node.orders import (
    Abort,
    Commit,
    Inbox,
    LineReader,
    Order,
    OrderPipe,
    Prepare,
    Serve,
    Service,
    from_line,
    to_line,
)

ORDERS: list[Order] = [
    Prepare(3, {"users": {"a": {"password": "x\n"}}}), Prepare(4, {}), Commit(4), Abort(5),
    *(Serve(service) for service in Service),
]  # fmt: skip


@pytest.fixture
def pipe() -> Iterator[tuple[int, OrderPipe]]:
    reading, writing = os.pipe()
    yield reading, OrderPipe(writing)
    for fd in (reading, writing):
        os.close(fd)


@pytest.mark.parametrize("order", ORDERS)
def test_an_order_is_one_line_and_the_same_when_it_is_read(order: Order) -> None:
    line = to_line(order)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert from_line(line) == order


def test_an_order_shows_no_policy() -> None:
    assert "password" not in repr(ORDERS[0])


def test_the_supervisor_never_waits_for_a_worker_that_does_not_read(pipe: tuple[int, OrderPipe]) -> None:
    reading, orders = pipe
    lines = [to_line(Prepare(1, {"x": "y" * 300_000})), to_line(Commit(1))]
    for line in lines:
        orders.say(line)
    assert orders.is_behind
    reader = LineReader(reading)
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.extend(reader.read() + b"\n" for _ in lines))
    thread.start()
    while orders.is_behind:
        orders.flush()
    thread.join(30)
    assert read == lines


def test_the_end_of_the_pipe_is_an_empty_line() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"a\nb\nhalf")
    os.close(writing)
    reader = LineReader(reading)
    assert [reader.read() for _ in range(3)] == [b"a", b"b", b""]
    os.close(reading)


def test_a_worker_that_has_ended_is_no_error() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    orders = OrderPipe(writing)
    orders.say(b"x\n")
    assert not orders.is_behind
    os.close(writing)


def test_orders_that_come_before_the_loop_are_kept_in_their_order() -> None:
    inbox = Inbox()
    for order in ORDERS[:2]:
        inbox.put(order)
    woken: list[int] = []
    inbox.open(lambda: woken.append(1))
    assert list(inbox.taken()) == ORDERS[:2]
    inbox.put(ORDERS[2])
    assert woken == [1]
    assert list(inbox.taken()) == ORDERS[2:3]
