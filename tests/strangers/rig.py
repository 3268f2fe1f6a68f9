"""One run: a fresh edge, healthy streams, the attackers in processes of their own, and the row it gives."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from .attack import Attack, Form
from .bounds import TOO_LARGE_BYTES
from .healthy import Record, watch
from .rows import Row, Usage, judge, measure, weigh
from .servers import DeafEdge, Servers, serving
from .wire import FIRST_SOURCE, Tally, Target

_spawn = multiprocessing.get_context("spawn")

_SAMPLE_S = 0.1
_START_S = 20.0
#: What attackers get beyond their time to end by themselves.
_PATIENCE_S = 4.0
#: Attackers come from other machines: they must not take the edge's CPU.
_NICE = 10
#: Kept in memory at most, of the log of a run.
_MOST_LOG_BYTES = 64 << 20


@dataclass(slots=True)
class Scene:
    """What a judge may look at: the edge, with the attackers gone."""

    servers: Servers
    form: Form
    attack: Attack


def run(attack: Attack, form: Form, directory: Path, seconds: float | None = None) -> Row:
    """The row of one attack."""
    row = Row(attack.name, seconds=seconds or attack.lasts_s(form))
    with serving(attack, form, directory) as servers, _watching(servers, attack) as watcher:
        sampler = _Sampler(servers)
        attackers = _Attackers(attack, form, servers, row.seconds)
        time.sleep(form.before_s)
        closes_before = servers.closes()
        if isinstance(servers.edge, DeafEdge):
            servers.edge.stop_reading()
        log_before, began = servers.log.stat().st_size, time.monotonic()
        attackers.act(until_too_large=sampler.is_too_large)
        ended = time.monotonic()
        row.log_bytes_per_s = (servers.log.stat().st_size - log_before) / (ended - began)
        time.sleep(form.after_s)
        row.tally = attackers.tally
        if sampler.is_too_large():
            row.complaints.append("stopped early: a process grew too large")
        record = _ask(watcher)
        usages = sampler.stop()
        weigh(row, usages, began, ended)
        measure(row, record, attack.judged, began, ended)
        row.reasons = _reasons(servers, closes_before)
        judge(row, attack.bounds(form))
        row.complaints += attack.judge(Scene(servers, form, attack), row)
        row.complaints += servers.stop()
    return row


class _Attackers:
    """The attacking processes; they are ready when this is."""

    def __init__(self, attack: Attack, form: Form, servers: Servers, seconds: float) -> None:
        self.tally = Tally()
        self._seconds = seconds
        self._processes: list[tuple[BaseProcess, Connection]] = []
        for number in range(attack.processes):
            target = Target(
                servers.edge.port, servers.edge.tls_port, seconds, form.share, number, attack.sources,
                servers.router_address, tuple(servers.workers),
            )  # fmt: skip
            ours, theirs = _spawn.Pipe()
            process = _spawn.Process(target=_attack, args=(attack.act, target, theirs), daemon=False)
            process.start()
            theirs.close()
            self._processes.append((process, ours))
        for _process, ours in self._processes:
            if not ours.poll(_START_S) or ours.recv() != "ready":
                raise AssertionError("an attacker did not start")

    def act(self, until_too_large: Callable[[], bool]) -> None:
        """Let them attack, until they are done or it is too much."""
        for _process, ours in self._processes:
            ours.send("go")
        deadline = time.monotonic() + self._seconds + _PATIENCE_S
        waiting = dict(self._processes)
        while waiting and time.monotonic() < deadline and not until_too_large():
            for process, ours in list(waiting.items()):
                try:
                    if ours.poll(_SAMPLE_S / 2):
                        self.tally.add(ours.recv())
                        del waiting[process]
                except EOFError:
                    self.tally.complaints.append("an attacker fell")
                    del waiting[process]
        for process, _ours in self._processes:
            if process in waiting:
                process.kill()
            process.join()


def _attack(act: Callable[[Target], Tally], target: Target, control: Connection) -> None:
    os.nice(_NICE)
    control.send("ready")
    control.recv()
    control.send(act(target))


class _Sampler:
    """Looks at memory and CPU every tenth of a second, in a thread."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self._usages: list[Usage] = [servers.usage(time.monotonic())]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def is_too_large(self) -> bool:
        latest = self._usages[-1]
        return max(*latest.workers, latest.router) > TOO_LARGE_BYTES

    def stop(self) -> list[Usage]:
        self._stopping.set()
        self._thread.join()
        return self._usages

    def _run(self) -> None:
        while not self._stopping.wait(_SAMPLE_S):
            self._usages.append(self._servers.usage(time.monotonic()))


@contextmanager
def _watching(servers: Servers, attack: Attack) -> Iterator[Connection]:
    ours, theirs = _spawn.Pipe()
    arguments = (theirs, servers.places, attack.crosses)
    process = _spawn.Process(target=watch, args=arguments, daemon=False)
    process.start()
    theirs.close()
    try:
        if not ours.poll(_START_S) or ours.recv() != "ready":
            raise AssertionError("the healthy streams did not start")
        yield ours
    finally:
        ours.close()
        process.join(1)
        if process.is_alive():
            process.kill()
            process.join()


def _ask(watcher: Connection) -> Record:
    watcher.send("stop")
    record = watcher.recv()
    assert isinstance(record, Record)
    return record


def _reasons(servers: Servers, before: dict[str, float]) -> dict[str, int]:
    """Why strangers were closed: by the lines about them, and by the counters where lines are fewer."""
    lines = _closed_lines(servers.log)
    reasons = Counter(event["reason"] for event in lines if _is_strange(event.get("peer")))
    for reason, count in servers.closes().items():
        reasons[reason] = max(reasons[reason], round(count - before.get(reason, 0)))
    return dict(reasons)


def _closed_lines(log: Path) -> Iterator[dict[str, Any]]:
    with log.open("rb") as lines:
        for text in lines.read(_MOST_LOG_BYTES).splitlines():
            if b'"connection_closed"' in text:
                try:
                    yield json.loads(text)
                except ValueError:
                    continue  # cut off


def _is_strange(peer: object) -> bool:
    """Whether that is an address of a stranger's: 127.0.0.2 and those after it."""
    host = str(peer).partition(":")[0]
    return host.startswith("127.0.0.") and int(host.rpartition(".")[2]) >= FIRST_SOURCE
