"""Runs a target for a while and counts."""

from __future__ import annotations

import resource
import time
import traceback
from typing import NamedTuple

from fuzz_mutator import Mutator
from fuzz_targets import Target

from cluster.core.hexdump import hexdump
from cluster.core.message import Message

#: What a process may grow by while a target runs; no decoder keeps anything.
MAX_GROWTH_BYTES = 64 * 1024 * 1024
#: Longer than any input of this size takes, on a machine that is busy with something else.
MAX_EXECUTION_S = 2.0
#: Executions between two looks at the clock.
_BATCH = 50


class Result(NamedTuple):
    """``executions`` of which ``refused`` ended in a documented error."""

    target: str
    seconds: float
    executions: int
    refused: int
    slowest_s: float
    grown_bytes: int


class FailureFoundError(Exception):
    """An input broke a promise; the text shows which and how."""


def run(target: Target, *, seed: int, seconds: float, executions: int | None = None) -> Result:
    """Run ``target`` for ``seconds``, or until it has had ``executions`` inputs if that is earlier.

    Raises FailureFoundError for the first input that breaks a promise.
    """
    mutator = Mutator(seed)
    count = refused = 0
    slowest_s = 0.0
    grown_from: int | None = None
    started = time.monotonic()
    deadline = started + seconds
    last = started
    while last < deadline and (executions is None or count < executions):
        for _ in range(_BATCH):
            refused += not survives(target, target.make(mutator), seed, count)
            count += 1
        now = time.monotonic()
        slowest_s, last = max(slowest_s, (now - last) / _BATCH), now
        if grown_from is None:
            grown_from = _resident_bytes()  # the first batch fills caches
    grown_bytes = 0 if grown_from is None else _resident_bytes() - grown_from
    if grown_bytes > MAX_GROWTH_BYTES:
        raise FailureFoundError(f"{target.name}, seed {seed}: the process has grown by {grown_bytes} bytes")
    return Result(target.name, last - started, count, refused, slowest_s, grown_bytes)


def survives(target: Target, made: object, seed: int, number: int) -> bool:
    """Run one input; False if it was refused as documented."""
    began = time.process_time()
    try:
        target.run(made)
    except target.errors:
        return False
    except Exception as error:
        what = f"{target.name}, seed {seed}, input {number}:\n{_shown(made)}\n{traceback.format_exc()}"
        raise FailureFoundError(what) from error
    if time.process_time() - began > MAX_EXECUTION_S:
        raise FailureFoundError(f"{target.name}, seed {seed}, input {number} takes long:\n{_shown(made)}")
    return True


def _shown(made: object) -> str:
    if isinstance(made, bytes):
        return f"{made.hex()}\n{hexdump(made)}"
    if isinstance(made, Message):
        head = f"type {made.type_id}, timestamp {made.timestamp}, stream {made.stream_id}"
        return f"{head}:\n{_shown(made.payload)}"
    if isinstance(made, list | tuple):
        return "\n".join(f"- {_shown(part)}" for part in made)
    return repr(made)


def _resident_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
