"""Every way that credentials come by, with every kind of rule, over every protocol, on two workers.

For each: what is right comes in, and what is wrong, or nothing, does not; what is wrong is answered late.
The same with programs of others: ``tests/interop/test_interop_access.py``.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from cluster.edge.peers.access import Action
from support.access_attempts import (
    FORMS,
    Outcome,
    Target,
    asked_servers,
    http,
    live,
    live_key,
    rtmp,
    write_config,
)
from support.access_kinds import HTTP_WAYS, NOTHING, RTMP_WAYS, SETUPS, HttpWay, Kind, RtmpWay, Setup, Shown
from support.access_table import AccessTable, Case
from support.cluster_process import Edge, StartEdge
from support.polling import wait_until
from support.tls import CertificateFiles, make_certificate

#: What is wrong is told so after one to three seconds, on a busy machine later.
GUESSED_S = 1.0
ANSWERED_S = 25.0
Way = TypeVar("Way", RtmpWay, HttpWay)
_Case = tuple[Way | None, Case, str]
Make = Callable[[], Awaitable[Outcome]]

#: Attempts at once: those that wait for their refusal cost nothing.
MOST_AT_ONCE = 48
#: What is refused late, by the reasons of the metrics.
LATE = ("bad_credentials", "hook_refused")


@dataclass(frozen=True)
class Attempt:
    """``reason``: with which it is to be refused; "" if it is to come in."""

    row: str
    column: str
    case: Case
    reason: str
    if_nothing: str
    make: Make

    @property
    def by_ticket(self) -> bool:
        """It is let in to HLS, by a ticket for what it shows; and asks for a file without it."""
        return not self.reason and "m3u8" in self.column and not self.row.startswith("ips: ")


def _cases(kind: Kind, ways: Iterable[Way], fitting: Iterable[Way], tls: bool) -> Iterator[_Case[Way]]:
    """Way, case and reason. By a way that is none for it what is right is refused as nothing is."""
    for way in ways:
        if way in fitting:
            yield way, "right", ""
            yield way, "wrong", kind.if_wrong
        elif not kind.elsewhere and not tls:
            yield way, "right", kind.if_nothing
    yield None, "nothing", kind.if_nothing


def _shown(kind: Kind, case: Case, action: Action, key: str) -> Shown:
    return {"right": kind.right, "wrong": kind.wrong, "nothing": lambda *_: NOTHING}[case](action, key)


def _rtmp(target: Target, kind: Kind) -> Iterator[Attempt]:
    numbers = itertools.count()
    for tls, action in itertools.product((False, True), kind.actions):
        for way, case, reason in _cases(kind, RTMP_WAYS, kind.ways, tls):
            app = kind.elsewhere if reason and kind.elsewhere else kind.app
            key = live_key(kind) if action == "play" else f"{app}/{next(numbers)}"
            key = f"{app}/{key.rpartition('/')[2]}"
            attempt = partial(rtmp, target, action, key, way, _shown(kind, case, action, key), tls=tls)
            yield _attempt(kind, way, f"{'rtmps' if tls else 'rtmp'} {action}", case, reason, attempt)


def _http(target: Target, kind: Kind) -> Iterator[Attempt]:
    if "play" not in kind.actions:
        return
    for tls, form in itertools.product((False, True), FORMS):
        for way, case, reason in _cases(kind, HTTP_WAYS, kind.http_ways, tls):
            key = f"{kind.elsewhere or kind.app}/live" if reason else live_key(kind)
            attempt = partial(
                http, target, form, key, way, _shown(kind, case, "play", key), tls=tls,
                by_ticket=not kind.elsewhere,
            )  # fmt: skip
            yield _attempt(kind, way, f"{'https' if tls else 'http'} {form}", case, reason, attempt)


def _attempt(
    kind: Kind, way: str | None, column: str, case: Case, reason: str, attempt: Make
) -> Attempt:
    told: Case = "nothing" if case == "right" and reason else case
    return Attempt(f"{kind.app}: {way or 'nothing'}", column, told, reason, kind.if_nothing, attempt)


@pytest.fixture
def files(tmp_path: Path) -> CertificateFiles:
    return make_certificate(tmp_path)


@pytest.mark.parametrize("setup", SETUPS, ids=lambda setup: setup.name)
def test_who_shows_what_the_rule_asks_for_comes_in_and_nobody_else(
    setup: Setup, files: CertificateFiles, tmp_path: Path, start_edge: StartEdge
) -> None:
    table = AccessTable(setup.name)
    with asked_servers(setup) as (hook, jwks):
        config = write_config(setup, tmp_path, hook, jwks)
        edge = start_edge(
            "--config", str(config), "--workers", "2", "--bind-tls", "127.0.0.1:0",
            "--http", "127.0.0.1:0", "--http-tls", "127.0.0.1:0", *files.options, *setup.options,
        )  # fmt: skip
        attempts = asyncio.run(_try_all(setup, Target(edge, files), table))
    print("\n".join(table.as_lines()))
    print(f"{table.count} attempts")
    assert not table.faults
    # What is right comes in at once. How soon that is depends on what else the machine does.
    assert statistics.median(table.seconds("right")) < statistics.median(table.seconds("wrong")) - 0.5
    refused = Counter(each.reason for each in attempts if each.reason and not _is_step(each))
    refused += Counter(each.if_nothing for each in attempts if each.by_ticket)
    wait_until(lambda: _denials(edge).total() >= refused.total(), "all refusals to be counted")
    assert _denials(edge) == refused
    published = {event["stream"] for event in edge.events("publish")}
    assert {key.partition("/")[0] for key in published} == {kind.app for kind in setup.kinds}


def _denials(edge: Edge) -> Counter[str]:
    counted = edge.metrics().by("reason", "access_denied_total")
    return Counter({reason: int(count) for reason, count in counted.items()})


def _is_step(attempt: Attempt) -> bool:
    """It was asked in connect who it is, and had nothing to say: that is a step, and no refusal yet."""
    at_connect = attempt.row.startswith("dialogue: ") and attempt.column.startswith("rtmp")
    return at_connect and attempt.reason == "no_credentials"


async def _try_all(setup: Setup, target: Target, table: AccessTable) -> list[Attempt]:
    attempts = [each for kind in setup.kinds for make in (_rtmp, _http) for each in make(target, kind)]
    for each in attempts:
        table.expect(each.row, each.column)
    places = asyncio.Semaphore(MOST_AT_ONCE)

    async def attempt(each: Attempt) -> None:
        async with places:
            _note(table, each, await each.make())

    async with live(target, list(setup.kinds)):
        await asyncio.gather(*map(attempt, attempts))
    return attempts


def _note(table: AccessTable, attempt: Attempt, outcome: Outcome) -> None:
    as_it_should = outcome.came_in is not bool(attempt.reason)
    if attempt.reason in LATE:
        as_it_should &= GUESSED_S <= outcome.seconds < ANSWERED_S
    said = f"{'let in' if outcome.came_in else 'refused'} ({outcome.said})"
    table.add(
        attempt.row, attempt.column, attempt.case, as_it_should=as_it_should, seconds=outcome.seconds,
        said=said,
    )  # fmt: skip
