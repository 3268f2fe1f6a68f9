"""Measure what rules cost, and who waits for a hook that does not answer.

    python -m benchmarks.access sessions     # CPU of a short publish, without rules and with some: a minute
    python -m benchmarks.access hooks        # a hook that is slow, down, wrong or killed: seven minutes

Servers of one worker run on core 0, their peers on core 1; medians over the rounds are shown. What sessions
cost is measured at all servers at the same time, one session at each in turn, and what a hook costs others
beside a server that asks none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import load, proc, servers
from benchmarks.model import Setting
from benchmarks.process import accepts, free_port
from cluster.client import PublishRefused, connect
from cluster.core.rtmp.url import RtmpUrl
from cluster.edge.admission.signed import Signing

_SECRET = "0123456789abcdef0123456789abcdef"
_SERVER_CORES, _PEER_CORES = {0}, {1}

# ---- sessions --------------------------------------------------------------------------------

#: Of one server and round, and how many come in a second to all: fewer at each than what would be paced.
_SESSIONS, _PER_S = 600, 120
_WARM_UP = 60

_RULES = {
    "no rules": "",
    "a rule that allows": '[[rule]]\nmatch = "live/*"\npublish = "allow"\n',
    "signed addresses (HMAC)": (
        '[[rule]]\nmatch = "live/*"\npublish = { signed = true }\n'
        f'[signing]\nsecrets = ["another one of the same length..", "{_SECRET}"]\n'
    ),
    "a user's password": (
        '[[rule]]\nmatch = "live/*"\npublish = { users = ["studio"] }\n'
        f'[users.studio]\npassword = "{_SECRET}"\n'
    ),
}


@contextlib.contextmanager
def _edge(rules: str, *options: str) -> Iterator[servers.Server]:
    with TemporaryDirectory(prefix="rtmp-cluster-access-") as directory:
        config = Path(directory, "edge.toml")
        config.write_text(rules)
        with servers.edge("--config", str(config), *options, cores=_SERVER_CORES) as server:
            yield server


def _query(number: int) -> str:
    """Shown to all alike, so that what they send costs the same."""
    signed = Signing((_SECRET,)).query("publish", f"live/{number}", 4_000_000_000)
    return f"?{signed}&user=studio&pass={_SECRET}"


async def _sessions(ports: Sequence[int], count: int) -> list[list[float]]:
    """One after another, at each server in turn: connect, publish, leave. How long each took to be let in,
    by server."""
    took: list[list[float]] = [[] for _ in ports]
    begun = time.monotonic()
    for number in range(count * len(ports)):
        await asyncio.sleep(max(0.0, begun + number / _PER_S - time.monotonic()))
        at, which = time.monotonic(), number % len(ports)
        url = RtmpUrl("rtmp", "127.0.0.1", ports[which], "live", f"{number}{_query(number)}")
        async with connect(url, publisher=True) as connection:
            await connection.publish()
            took[which].append(time.monotonic() - at)
    return took


def _measure_sessions() -> list[tuple[float, float]]:
    """For each of ``_RULES``, all at the same time: CPU of the worker in µs a session, and the median until
    it was let in, in ms."""
    with contextlib.ExitStack() as stack:
        running = [stack.enter_context(_edge(rules)) for rules in _RULES.values()]
        stack.enter_context(proc.on_cores(_PEER_CORES))
        ports = [server.port for server in running]
        asyncio.run(_sessions(ports, _WARM_UP))
        before = [proc.cpu_s(server.workers[0]) for server in running]
        took = asyncio.run(_sessions(ports, _SESSIONS))
        used = [proc.cpu_s(server.workers[0]) - b for server, b in zip(running, before, strict=True)]
    return [
        (cpu * 1e6 / _SESSIONS, statistics.median(each) * 1e3) for cpu, each in zip(used, took, strict=True)
    ]


def sessions(rounds: int) -> None:
    measured = [_measure_sessions() for _ in range(rounds)]
    found = {name: [each[number] for each in measured] for number, name in enumerate(_RULES)}
    first = found["no rules"]
    print(f"{_SESSIONS} sessions at each in turn, {rounds} rounds: CPU us a session, more than without")
    for name, all_rounds in found.items():
        cpu = statistics.median(each[0] for each in all_rounds)
        more = [each[0] - without[0] for each, without in zip(all_rounds, first, strict=True)]
        let_in = statistics.median(each[1] for each in all_rounds)
        spread = f"{statistics.median(more):+6.0f} ({min(more):+.0f} to {max(more):+.0f})"
        print(f"  {name:26} {cpu:7.0f}  {spread}  let in after {let_in:.2f} ms")


# ---- hooks -----------------------------------------------------------------------------------

_TIMEOUT_S = 5.0
_SLOW_S = 2.0
#: Publishers that come to each edge, one after another, in the time in which others' delays are measured.
_ASKED_PER_S = 10
_WINDOW_S = 12.0
_PLAYERS = 50

_HOOK_RULES = """\
[[rule]]
match = "closed/*"
publish = {{ hook = true }}
[[rule]]
match = "open/*"
publish = {{ hook = true, fail = "open" }}
[hooks]
publish = "http://127.0.0.1:{port}/hook"
timeout = {timeout}
"""


class _Hook(BaseHTTPRequestHandler):
    """Answers as it is told by ``manner``."""

    protocol_version = "HTTP/1.1"
    manner = ""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.manner == "slow":
            time.sleep(_SLOW_S)
        if self.manner == "redirects":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
        else:
            self.send_response(200)
        body = b"<html>not what was agreed</html>" * 100 if self.manner == "garbage" else b'{"allow": true}'
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def _serve(port: int, manner: str) -> None:
    os.sched_setaffinity(0, _PEER_CORES)
    handler = type("Hook", (_Hook,), {"manner": manner})
    ThreadingHTTPServer.daemon_threads = True
    ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever()


async def _ask(port: int, app: str, number: int) -> tuple[str, bool, float]:
    begun = time.monotonic()
    try:
        url = RtmpUrl("rtmp", "127.0.0.1", port, app, str(number))
        async with connect(url, publisher=True, timeout_s=30) as connection:
            await connection.publish()
            return app, True, time.monotonic() - begun
    except PublishRefused:
        return app, False, time.monotonic() - begun


async def _ask_on(ports: Sequence[int], halfway: Callable[[], None]) -> list[tuple[str, bool, float]]:
    """Publishers come to each of ``ports`` alike; how it went at the first."""
    tasks: list[list[asyncio.Task[tuple[str, bool, float]]]] = [[] for _ in ports]
    begun = time.monotonic()
    count = int(_WINDOW_S * _ASKED_PER_S)
    for number in range(count):
        await asyncio.sleep(max(0.0, begun + number / _ASKED_PER_S - time.monotonic()))
        app = "open" if number % 2 else "closed"
        for port, asked in zip(ports, tasks, strict=True):
            asked.append(asyncio.create_task(_ask(port, app, number)))
        if number == count // 2:
            halfway()
    first, *_ = [await asyncio.gather(*asked) for asked in tasks]
    return first


def _load_on(server: servers.Server, setting: Setting) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, "-m", "cluster", "load", f"rtmp://127.0.0.1:{server.port}/live/bench",
        "--json", "-", *load.timing(setting), *load.players(_PLAYERS),
    ]  # fmt: skip
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def _measure_hook(manner: str, is_first: bool) -> tuple[list[float], list[tuple[str, bool, float]]]:
    """The delay p99 in ms of the healthy at an edge that asks, and at one to which as many publishers come
    without being asked about, and how it went for those who were. ``is_first``: the one that asks is
    started first."""
    port = free_port()
    hook = multiprocessing.get_context("spawn").Process(target=_serve, args=(port, manner), daemon=True)
    nobody_asks = manner == "nobody asks"
    if manner != "down" and not nobody_asks:
        hook.start()
        while not accepts(port):
            time.sleep(0.05)
    asks = "" if nobody_asks else _HOOK_RULES.format(port=port, timeout=_TIMEOUT_S)
    setting = Setting(window_s=_WINDOW_S, settle_s=3.0, generator_cores=_PEER_CORES)
    try:
        with contextlib.ExitStack() as stack:
            order = 1 if is_first else -1
            running = [stack.enter_context(_edge(rules)) for rules in (asks, "")[::order]][::order]
            stack.enter_context(proc.on_cores(_PEER_CORES))
            generators = [_load_on(server, setting) for server in running]
            time.sleep(setting.settle_s)
            halfway = hook.kill if manner == "killed in the middle" else lambda: None
            asked = asyncio.run(_ask_on([server.port for server in running], halfway))
            said = [json.loads(generator.communicate(timeout=60)[0]) for generator in generators]
        return [float(each["video_delay_ms"]["p99"]) for each in said], asked
    finally:
        if hook.pid is not None:
            hook.kill()
            hook.join()


_MANNERS = (
    "nobody asks", "answers at once", "slow", "down", "garbage", "redirects", "killed in the middle",
)  # fmt: skip


def hooks(rounds: int) -> None:
    ratios: dict[str, list[float]] = {manner: [] for manner in _MANNERS}
    delays: dict[str, list[float]] = {manner: [] for manner in _MANNERS}
    asked: dict[str, list[tuple[str, bool, float]]] = {manner: [] for manner in _MANNERS}
    for number in range(rounds):
        for manner in _MANNERS:
            (p99, beside), waited = _measure_hook(manner, is_first=number % 2 == 0)
            delays[manner].append(p99)
            ratios[manner].append(p99 / beside)
            asked[manner] += waited
    print(
        f"{_PLAYERS} players of another stream, {_ASKED_PER_S} publishers a second asked about, time limit "
        f"{_TIMEOUT_S:g} s, {rounds} rounds; delay p99 of the players, of that at an edge that does not ask"
    )
    for manner in _MANNERS:
        p99, ratio = statistics.median(delays[manner]), statistics.median(ratios[manner])
        waits = "; ".join(filter(None, (_waits(asked[manner], app) for app in ("closed", "open"))))
        spread = f"{ratio:.2f} ({min(ratios[manner]):.2f} to {max(ratios[manner]):.2f})"
        print(f"  {manner:21} {p99:5.1f} ms, {spread}  {waits}")


def _waits(asked: list[tuple[str, bool, float]], app: str) -> str:
    told = []
    for let_in, word in ((True, "let in"), (False, "refused")):
        seconds = sorted(took for of, came_in, took in asked if of == app and came_in is let_in)
        if seconds:
            after = f"{statistics.median(seconds):.3f} s, {seconds[-1]:.3f} at most"
            told.append(f"{len(seconds)} {word} after {after}")
    return f"fail {app}: {', '.join(told)}" if told else ""


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.access", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    measures = {"sessions": sessions, "hooks": hooks}
    parser.add_argument("what", choices=measures)
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args()
    measures[options.what](options.rounds)


if __name__ == "__main__":
    main()
