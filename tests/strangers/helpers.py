"""Processes of a run beside the edge: started while the edge starts, told later what to do."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

_spawn = multiprocessing.get_context("spawn")
_START_S = 30.0


class Helper:
    """One process. ``control`` is the way to what it was told to do."""

    def __init__(self) -> None:
        self.control, theirs = _spawn.Pipe()
        self._process = _spawn.Process(target=_obey, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, act: Callable[..., None], *arguments: Any) -> None:
        """Have it call ``act`` with its end of ``control`` and these arguments; returns at its "ready"."""
        self.control.send((act, arguments))
        answer = self.control.recv() if self.control.poll(_START_S) else f"nothing within {_START_S:g} s"
        if answer != "ready":
            raise AssertionError(f"{act.__name__} did not become ready: {answer}")

    def end(self, patience_s: float = 0.0) -> None:
        self._process.join(patience_s)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.control.close()


@contextmanager
def helping(count: int) -> Iterator[list[Helper]]:
    helpers = [Helper() for _ in range(count)]
    try:
        yield helpers
    finally:
        for helper in helpers:
            helper.end()


def _obey(control: Connection) -> None:
    try:
        act, arguments = control.recv()
    except EOFError:
        return
    try:
        act(control, *arguments)
    except Exception as error:
        control.send(f"{type(error).__name__}: {error}")  # or nobody hears why
        raise
