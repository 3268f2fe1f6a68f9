"""One run: a fresh edge, healthy streams, the attackers in processes of their own, and the row it gives."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from .attack import Attack, Form
from .bounds import TOO_LARGE_BYTES, WELL_FOR_S
from .healthy import STOP, WELL, Record, watch
from .helpers import Helper, helping
from .rows import RECOVERY_STEP_S, Row, Usage, judge, measure, weigh
from .servers import DeafEdge, Servers, serving
from .wire import FIRST_SOURCE, Tally, Target

_SAMPLE_S = 0.1
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
    bounds = attack.bounds(form)
    row = Row(attack.name, seconds=seconds or attack.lasts_s(form), well_ms=bounds.well_ms)
    with helping(1 + attack.processes) as helpers, serving(attack, form, directory) as servers:
        watcher, *attackers = helpers
        watcher.begin(watch, servers.places, attack.crosses)
        for number, attacker in enumerate(attackers):
            attacker.begin(_attack, attack.act, _target(attack, form, servers, row.seconds, number))
        sampler = _Sampler(servers)
        time.sleep(form.before_s)
        closes_before = servers.closes()
        if isinstance(servers.edge, DeafEdge):
            servers.edge.stop_reading()
        log_before, began = servers.log.stat().st_size, time.monotonic()
        row.tally = _let_attack(attackers, row.seconds, until_too_large=sampler.is_too_large)
        ended = time.monotonic()
        row.log_bytes_per_s = (servers.log.stat().st_size - log_before) / (ended - began)
        _wait_until_well(watcher, attack, ended + form.after_s)
        if sampler.is_too_large():
            row.complaints.append("stopped early: a process grew too large")
        record = _ask(watcher)
        weigh(row, sampler.stop(), began, ended)
        measure(row, record, attack.judged, began, ended, attack.joins_after_s)
        row.reasons = _reasons(servers, closes_before)
        judge(row, bounds)
        row.complaints += attack.judge(Scene(servers, form, attack), row)
        row.complaints += servers.stop(may_lose_workers=attack.judged != (0, 1))
    return row


def _target(attack: Attack, form: Form, servers: Servers, seconds: float, number: int) -> Target:
    edge = servers.edge
    return Target(
        edge.port, edge.tls_port, seconds, form.share, number, attack.sources,
        servers.router_address, tuple(servers.workers), edge.http_port,
        edge.https_port,
    )  # fmt: skip


def _let_attack(attackers: list[Helper], seconds: float, until_too_large: Callable[[], bool]) -> Tally:
    """What the attackers did in their time; they are stopped if they do not end, or if it is too much."""
    tally, waiting = Tally(), list(attackers)
    for attacker in attackers:
        attacker.control.send("go")
    deadline = time.monotonic() + seconds + _PATIENCE_S
    while waiting and time.monotonic() < deadline and not until_too_large():
        for attacker in list(waiting):
            try:
                if attacker.control.poll(_SAMPLE_S / 2):
                    done = attacker.control.recv()
                    waiting.remove(attacker)
                    if isinstance(done, Tally):
                        tally.add(done)
                    else:
                        tally.complaints.append(f"an attacker fell: {done}")
            except EOFError:
                tally.complaints.append("an attacker was killed")
                waiting.remove(attacker)
    for attacker in attackers:
        attacker.end()
    return tally


def _attack(control: Connection, act: Callable[[Target], Tally], target: Target) -> None:
    os.nice(_NICE)
    control.send("ready")
    control.recv()
    try:
        tally = act(target)
    except OSError:  # even the one peer without which there is no attack is kept out
        tally = Tally(refused=1)
    control.send(tally)


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


def _wait_until_well(watcher: Helper, attack: Attack, until: float) -> None:
    """Until the healthy streams are well again, and a moment more, or until then."""
    time.sleep(WELL_FOR_S)
    are_well = False
    while not are_well and time.monotonic() < until:
        time.sleep(RECOVERY_STEP_S)
        watcher.control.send(WELL)
        are_well = set(attack.judged) <= set(watcher.control.recv())
    time.sleep(RECOVERY_STEP_S)


def _ask(watcher: Helper) -> Record:
    watcher.control.send(STOP)
    record = watcher.control.recv()
    assert isinstance(record, Record)
    watcher.end(patience_s=1)
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
