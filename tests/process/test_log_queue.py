"""Who logs never waits for who reads the log; what was lost meanwhile is counted and told of."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import select
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from cluster.process import log_queue
from cluster.process.log_queue import QueuedHandler

LOGGER = logging.getLogger("cluster.test")
LOST = "lines are missing here"
#: Far more than what is measured takes, far less than waiting for a pipe that nobody reads.
AT_ONCE_S = 20.0


class Pipe:
    """A pipe of the smallest size, and a handler that writes to it."""

    def __init__(self, max_bytes: int = log_queue.QUEUE_BYTES, retry_s: float = 0.01) -> None:
        self.reader, self.writer = os.pipe()
        self.size = fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, 4096)
        self.handler = QueuedHandler(self.writer, max_bytes, retry_s)
        self.handler.setFormatter(logging.Formatter("%(message)s"))

    def fill(self) -> None:
        """So that no line fits into it."""
        os.set_blocking(self.writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(self.writer, b"x" * self.size)
        os.set_blocking(self.writer, True)

    def log(self, text: str) -> None:
        self.handler.handle(logging.makeLogRecord({"msg": text}))

    def read(self, wanted: Callable[[bytes], bool]) -> str:
        """What comes out of it until ``wanted`` is true of all that has."""
        found = b""
        while not wanted(found):
            assert select.select([self.reader], [], [], AT_ONCE_S)[0], found[-1_000:]
            data = os.read(self.reader, 65_536)
            assert data, found
            found += data
        return found.decode()

    def lines_until(self, last: str) -> list[str]:
        """Those that come out of it up to the line ``last``, without what ``fill`` put there."""
        end = last.encode() + b"\n"
        return self.read(lambda found: end in found and found.endswith(b"\n")).lstrip("x").splitlines()

    def lines_until_loss(self) -> list[str]:
        """The same up to the line about what was lost."""
        told = self.read(lambda found: LOST.encode() in found and found.endswith(b"\n"))
        return told.lstrip("x").splitlines()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self.reader)  # a writer that is stuck ends
        self.handler.close()
        os.close(self.writer)


MakePipe = Callable[..., Pipe]


@pytest.fixture
def make_pipe() -> Iterator[MakePipe]:
    made: list[Pipe] = []

    def make(*args: int, **options: float) -> Pipe:
        made.append(Pipe(*args, **options))
        return made[-1]

    yield make
    for pipe in made:
        pipe.close()


def test_lines_are_written_in_their_order(make_pipe: MakePipe) -> None:
    pipe = make_pipe()
    texts = [f"line {number}" for number in range(1_000)]
    for text in texts:
        pipe.log(text)
    assert pipe.lines_until(texts[-1]) == texts
    assert pipe.handler.lines_lost == 0


def test_those_of_each_thread_keep_their_order(make_pipe: MakePipe) -> None:
    pipe = make_pipe()

    def log(name: str) -> None:
        for number in range(200):
            pipe.log(f"{name} {number}")

    threads = [threading.Thread(target=log, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    lines = pipe.read(lambda found: found.count(b"\n") == 400).splitlines()
    for thread in threads:
        thread.join()
    for name in "ab":
        assert [line for line in lines if line[0] == name] == [f"{name} {number}" for number in range(200)]


def test_nobody_waits_for_a_pipe_that_is_not_read_and_the_loss_is_told(make_pipe: MakePipe) -> None:
    pipe = make_pipe()
    count = 50_000
    began_at = time.monotonic()
    for number in range(count):
        pipe.log(f"line {number}")
    assert time.monotonic() - began_at < AT_ONCE_S
    lost = pipe.handler.lines_lost
    assert 0 < lost < count

    lines = pipe.lines_until_loss()
    assert lines[:-1] == [f"line {number}" for number in range(count - lost)]
    assert lines[-1].startswith(f"{lost} {LOST}")
    pipe.log("after it")
    assert pipe.lines_until("after it") == ["after it"]
    assert pipe.handler.lines_lost == lost


@pytest.mark.parametrize(("past", "lost"), [(0, 0), (1, 1)], ids=["at the bound", "one byte past it"])
def test_so_many_bytes_may_wait(make_pipe: MakePipe, past: int, lost: int) -> None:
    pipe = make_pipe(1_000)
    pipe.fill()
    texts = [f"{number}" * 99 for number in range(10)]
    texts[-1] += "+" * past
    for text in texts:
        pipe.log(text)
    assert pipe.handler.lines_lost == lost
    kept = texts[: len(texts) - lost]
    assert pipe.lines_until(kept[-1])[: len(kept)] == kept


def test_once_a_line_is_lost_all_are_until_the_queue_is_written(make_pipe: MakePipe) -> None:
    pipe = make_pipe(1_000)
    pipe.fill()
    for text in ("a" * 599, "b" * 599, "c"):
        pipe.log(text)
    assert pipe.handler.lines_lost == 2
    lines = pipe.lines_until_loss()
    assert lines[0] == "a" * 599
    assert [line.split()[0] for line in lines[1:]] == ["2"]


def test_a_line_longer_than_the_queue_is_lost_and_no_other(make_pipe: MakePipe) -> None:
    pipe = make_pipe(1_000)
    pipe.log("z" * 1_000)
    assert pipe.lines_until_loss()[0].startswith(f"1 {LOST}")
    pipe.log("b")
    assert pipe.lines_until("b") == ["b"]
    assert pipe.handler.lines_lost == 1


def test_losses_are_told_each_time(make_pipe: MakePipe) -> None:
    pipe = make_pipe(1_000)
    for lost in (3, 5):
        pipe.fill()
        for text in ["a" * 900, *["b" * 900] * lost]:
            pipe.log(text)
        assert pipe.lines_until_loss()[-1].startswith(f"{lost} {LOST}")
    assert pipe.handler.lines_lost == 8


def test_what_waits_is_written_at_the_end(make_pipe: MakePipe) -> None:
    pipe = make_pipe()
    for number in range(10):
        pipe.log(f"line {number}")
    pipe.handler.close()
    assert pipe.lines_until("line 9") == [f"line {number}" for number in range(10)]
    pipe.handler.close()  # as logging.shutdown does again


def test_a_pipe_that_is_not_read_does_not_keep_the_process(
    make_pipe: MakePipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_queue, "CLOSE_TIMEOUT_S", 0.05)
    pipe = make_pipe()
    pipe.fill()
    pipe.log("never read")
    began_at = time.monotonic()
    pipe.handler.close()
    assert 0.04 < time.monotonic() - began_at < AT_ONCE_S


def test_a_full_disk_costs_a_write_now_and_then_and_no_line(
    make_pipe: MakePipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, tries = os.write, []

    def full_three_times(fd: int, data: bytes) -> int:
        tries.append(time.monotonic())
        if len(tries) <= 3:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full_three_times)
    pipe = make_pipe(retry_s=0.05)
    pipe.log("a")
    pipe.log("b")
    assert pipe.lines_until("b") == ["a", "b"]
    assert len(tries) == 5
    assert tries[3] - tries[0] > 3 * 0.04
    assert pipe.handler.lines_lost == 0


def test_a_reader_that_is_gone_does_not_keep_the_process(make_pipe: MakePipe) -> None:
    pipe = make_pipe(retry_s=3600)
    os.close(pipe.reader)
    for _ in range(100):
        pipe.log("nobody reads this")
    began_at = time.monotonic()
    pipe.handler.close()
    assert time.monotonic() - began_at < log_queue.CLOSE_TIMEOUT_S / 2


def test_a_descriptor_that_does_not_block_gets_every_line(make_pipe: MakePipe) -> None:
    pipe = make_pipe()
    os.set_blocking(pipe.writer, False)
    texts = [f"line {number} " + "." * 1_000 for number in range(100)]
    for text in texts:
        pipe.log(text)
    assert pipe.lines_until(texts[-1]) == texts


def test_what_is_no_text_is_written_as_well(make_pipe: MakePipe) -> None:
    pipe = make_pipe()
    pipe.log(b"a\xff".decode(errors="surrogateescape"))
    assert pipe.lines_until("a\\udcff") == ["a\\udcff"]


def test_a_wrong_call_is_told_in_the_log(make_pipe: MakePipe) -> None:
    pipe = make_pipe()
    record = LOGGER.makeRecord("", logging.INFO, "/a/caller.py", 7, "%d", ("no number",), None)
    pipe.handler.handle(record)
    pipe.log("after it")
    lines = pipe.lines_until("after it")
    assert lines[0] == "/a/caller.py:7: cannot be logged"
    assert lines[-2].startswith("TypeError")


def test_what_logs_while_a_line_is_made_does_no_harm(make_pipe: MakePipe) -> None:
    """As the collector may: a task that it finds without an owner logs."""
    pipe = make_pipe()

    class Chatty:
        def __str__(self) -> str:
            pipe.log("inner")
            return "outer"

    pipe.handler.handle(logging.makeLogRecord({"msg": Chatty()}))
    assert pipe.lines_until("outer") == ["inner", "outer"]
