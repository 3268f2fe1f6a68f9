"""Programs of others show credentials: what is right comes in, what is wrong or nothing does not.

The same with our own client, for every kind of rule: ``tests/system/test_access.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import peer_obs
import pytest
from access_clients import CLIENTS, Client, Command, Stream
from interop_cluster import Clips
from matrix import H264_AAC
from workbench import Job, Workbench

from cluster.edge.peers.access import Action
from support.access_attempts import Form, Target, asked_servers, live_key, write_config
from support.access_kinds import NOTHING, PASSWORD, SECRET, SETUPS, USER, HttpWay, Kind, RtmpWay, Setup
from support.access_table import CASES, AccessTable, Case
from support.cluster_process import Edge
from support.ffmpeg import Ffmpegs
from support.polling import wait_until
from support.tls import make_certificate

#: Programs at once: those who wait for their refusal cost nothing.
AT_ONCE = 6
IN_TIMEOUT_S = 30.0
#: Of an encoder that draws and encodes by itself.
OBS_TIMEOUT_S = 60.0
#: What is wrong is told so late.
GUESSED_S = 1.0
POLL_S = 0.02
Way: TypeAlias = RtmpWay | HttpWay
_SETUPS = {setup.name: setup for setup in SETUPS}
_OURS = "rtmp-cluster"
#: Kinds that each client is tried with: those of other servers look the same to it.
_KINDS = ("users", "dialogue", "signed", "hs256", "hook")


@dataclass(frozen=True)
class Place:
    """An edge, its kinds by name, and what is played on it."""

    target: Target
    kinds: dict[str, Kind]


@pytest.fixture(scope="module")
def clip(clips: Clips) -> Path:
    return clips.of(H264_AAC)


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Iterator[dict[str, Place]]:
    """An edge of each set-up that programs are tried with; FFmpeg publishes what they play."""
    directory = tmp_path_factory.mktemp("access")
    with contextlib.ExitStack() as stack:
        yield {
            name: stack.enter_context(_place(_SETUPS[name], directory, clip))
            for name in (_OURS, "mediamtx", "publish-key")
        }


@contextlib.contextmanager
def _place(setup: Setup, directory: Path, clip: Path) -> Iterator[Place]:
    files = make_certificate(directory, setup.name)
    ffmpegs = Ffmpegs(directory)
    with asked_servers(setup) as (hook, jwks):
        config = write_config(setup, directory, hook, jwks)
        edge = Edge([
            "--config", str(config), "--workers", "2", "--bind-tls", "127.0.0.1:0", *setup.options,
            "--http", "127.0.0.1:0", "--http-tls", "127.0.0.1:0", *files.options,
        ], directory / f"{setup.name}.log")  # fmt: skip
        try:
            edge.wait_ready()
            place = Place(Target(edge, files), {kind.app: kind for kind in setup.kinds})
            for kind in setup.kinds:
                key = live_key(kind)
                query = kind.right("publish", key).items
                app, _, name = key.partition("/")
                way = f"{app}/{name}?{query}" if "name" in kind.ways else f"{app}?{query}/{name}"
                ffmpegs.publish(clip, f"rtmp://127.0.0.1:{edge.port}/{way}", loop=True)
            wait_until(lambda: edge.metrics().total("publishers") == len(setup.kinds), "the publishers")
            yield place
            ffmpegs.end()
            assert edge.stop() == 0, edge.log_text()
            assert "Traceback" not in edge.log_text(), edge.log_text()
        finally:
            ffmpegs.end()
            edge.kill()


# ---- what is tried ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Attempt:
    row: str
    column: str
    case: Case
    command: Command
    stream: Stream
    action: Action


class _Maker:
    """Makes what a client is tried with."""

    def __init__(self, client: Client, places: dict[str, Place], bench: Workbench) -> None:
        self._client = client
        self._places = places
        self._bench = bench
        self._numbers = itertools.count()

    def all(self) -> Iterator[Attempt]:
        client = self._client
        if client.publish is not None:
            yield from self._rtmp("publish", client.publish)
        if client.play is not None:
            yield from self._rtmp("play", client.play)
        if client.publish is not None:
            for case in CASES:
                yield self._attempt("publish-key", "key", "name", case, "rtmp publish", client.publish)
        if client.get is not None:
            for form in client.forms:
                yield from self._http(form, client.get)

    def _rtmp(self, action: Action, command: Command) -> Iterator[Attempt]:
        for name in _KINDS:
            kind = self._places[_OURS].kinds[name]
            # Over TLS the same bytes travel: one kind for each way shows it.
            tls = (False, True) if self._client.has_tls and name in ("users", "dialogue") else (False,)
            ways = [way for way in self._client.rtmp_ways if way in kind.ways]
            for way, secured, case in itertools.product(ways, tls, CASES[:2]):
                yield self._attempt(_OURS, name, way, case, f"rtmp{'s' * secured} {action}", command)
            yield self._attempt(_OURS, name, None, "nothing", f"rtmp {action}", command)
        for case in CASES:
            yield self._attempt("mediamtx", "jwks", "name", case, f"rtmp {action}", command)

    def _http(self, form: Form, command: Command) -> Iterator[Attempt]:
        for name in _KINDS:
            kind = self._places[_OURS].kinds[name]
            tls = (False, True) if name == "users" else (False,)
            ways = [way for way in self._client.http_ways if way in kind.http_ways]
            for way, secured, case in itertools.product(ways, tls, CASES[:2]):
                yield self._attempt(_OURS, name, way, case, f"http{'s' * secured} {form}", command, form)
            yield self._attempt(_OURS, name, None, "nothing", f"http {form}", command, form)

    def _attempt(
        self, place: str, name: str, way: Way | None, case: Case, column: str, command: Command,
        form: Form = "flv",
    ) -> Attempt:  # fmt: skip
        number, kind = next(self._numbers), self._places[place].kinds[name]
        action: Action = "publish" if column.endswith("publish") else "play"
        key = live_key(kind) if action == "play" else f"{name}/{self._client.name.split()[0]}-{number}"
        show = {"right": kind.right, "wrong": kind.wrong, "nothing": lambda *_: NOTHING}[case]
        stream = Stream(
            self._places[place].target, key, way if case != "nothing" else None, show(action, key),
            column.startswith(("rtmps", "https")), self._bench.clip,
            self._bench.directory / f"{number}.out", form,
        )  # fmt: skip
        row = f"{self._client.name}: {name}, {way or 'nothing'}"
        return Attempt(row, column, case, command, stream, action)


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_programs_come_in_with_what_is_right_alone(
    client: Client, places: dict[str, Place], clip: Path, tmp_path: Path, access_table: AccessTable
) -> None:
    if client.version() is None:
        pytest.skip(f"{client.name} is not installed")
    bench = Workbench(tmp_path, clip)
    attempts = list(_Maker(client, places, bench).all())
    before = len(access_table.faults)
    for each in attempts:
        access_table.expect(each.row, each.column)
    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda each: _try(bench, each, access_table), attempts))
    finally:
        bench.end()
    faults = access_table.faults[before:]
    assert not faults, "\n".join(faults)


def _try(bench: Workbench, attempt: Attempt, table: AccessTable) -> None:
    """Until something has come, or it has ended."""
    begun = time.monotonic()
    job = bench.spawn("client", attempt.command(attempt.stream))
    try:
        came_in = _outcome(job, attempt, begun + IN_TIMEOUT_S)
        seconds = time.monotonic() - begun
    finally:
        job.end()
    as_it_should = came_in is (attempt.case == "right")
    if attempt.case == "wrong":
        as_it_should &= seconds >= GUESSED_S
    said = f"{came_in}: {job.log_text()[-300:]}"
    table.add(
        attempt.row, attempt.column, attempt.case, as_it_should=as_it_should, seconds=seconds, said=said
    )


def _outcome(job: Job, attempt: Attempt, until: float) -> bool | None:
    """Whether it came in; None if that did not turn out in time."""
    edge, stream = attempt.stream.target.edge, attempt.stream
    while time.monotonic() < until:
        is_over = not job.running
        if attempt.action == "publish":
            if any(event["stream"] == stream.key for event in edge.events("publish")):
                return True
        elif stream.output.exists() and stream.output.stat().st_size > 0:
            return True
        if is_over:
            return False
        time.sleep(POLL_S)
    return None


# ---- OBS -------------------------------------------------------------------------------------


@pytest.mark.skipif(peer_obs.version() is None, reason="OBS is not installed: obs-studio xvfb")
@pytest.mark.parametrize("case", ["right", "wrong"])
@pytest.mark.parametrize("way", ["dialogue", "name"])
def test_obs_comes_in_with_what_is_right_alone(
    case: Case, way: str, places: dict[str, Place], clip: Path, tmp_path: Path, access_table: AccessTable
) -> None:
    """By *Use authentication*, and by a stream key with the secret of ``--publish-key`` behind it."""
    bench = Workbench(tmp_path, clip)
    place = places["rtmp-cluster" if way == "dialogue" else "publish-key"]
    edge, app = place.target.edge, "dialogue" if way == "dialogue" else "key"
    name = f"obs-{case}"
    login = (USER, PASSWORD if case == "right" else "no") if way == "dialogue" else None
    stream_key = name if login else f"{name}?key={SECRET if case == 'right' else 'no'}"
    before = len(edge.events("access_denied"))
    begun = time.monotonic()
    try:
        obs = peer_obs.publish(bench, f"rtmp://127.0.0.1:{edge.port}/{app}", stream_key, login=login)

        def outcome() -> str:
            assert obs.running, f"OBS ended: {obs.log_text()}"
            if any(event["stream"] == f"{app}/{name}" for event in edge.events("publish")):
                return "in"
            denied = edge.events("access_denied")[before:]
            is_denied = any(event["stream"] in (app, f"{app}/{name}") for event in denied)
            return "denied" if is_denied else ""

        came_in = wait_until(outcome, "OBS to come in, or not", OBS_TIMEOUT_S) == "in"
    finally:
        bench.end()
    access_table.add(
        f"OBS: {app}, {way}", "rtmp publish", case, as_it_should=came_in is (case == "right"),
        seconds=time.monotonic() - begun, said=str(came_in),
    )  # fmt: skip
    assert came_in is (case == "right")
