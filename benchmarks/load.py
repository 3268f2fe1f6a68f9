"""Puts a load on a server with ``rtmp-cluster load`` as a process of its own, on cores of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks import proc
from benchmarks.model import Measured, Setting
from benchmarks.servers import Server
from cluster.process.exit_codes import ExitCode

_ROOT = Path(__file__).resolve().parent.parent
#: As fast as one connection after another each 4 ms.
_CONNECT_EVERY_S = 0.004
_MIB = 1024 * 1024
_STREAM = "bench"

#: What ``--json`` writes (docs/load.md).
Result = dict[str, Any]


class LoadError(Exception):
    """The load could not be put on the server; the text is what the generator said."""


def run(server: Server, options: list[str], setting: Setting, *, play: str = "") -> Result:
    """Run the generator with these options against ``server`` and return its result. ``play``: over HTTP,
    what stands behind the name of the stream."""
    url = _url(server.port, tls=server.tls)
    command = [sys.executable, "-m", "cluster", "load", url, "--json", "-", *timing(setting)]
    if server.tls:
        command.append("--insecure")
    for pid in server.pids:
        command += ["--pid", str(pid)]
    if server.play_port is not None:
        command += ["--play-from", _url(server.play_port)]
    if play:
        command += ["--play-from", f"http://127.0.0.1:{server.http_port}/live/{_STREAM}{play}"]
    with proc.on_cores(setting.generator_cores):
        done = subprocess.run(
            [*command, *options], cwd=_ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
    result: Result | None = json.loads(done.stdout) if done.stdout else None
    if result is None:
        raise LoadError(done.stderr.strip() or f"the generator ended with {done.returncode}")
    nobody = result["players"]["asked"] and not result["players"]["joined"]
    ended = done.returncode not in (ExitCode.OK, ExitCode.REFUSED)
    if ended or nobody or result["ended_early"] or result["server"] is None:
        raise LoadError("; ".join(result["complaints"]))
    return result


def _url(port: int, *, tls: bool = False) -> str:
    return f"rtmp{'s' * tls}://127.0.0.1:{port}/live/{_STREAM}"


def timing(setting: Setting) -> list[str]:
    """Options for when is measured; a later option of the same name overrides them."""
    return ["--settle", str(setting.settle_s), "--duration", str(setting.window_s)]


def players(count: int) -> list[str]:
    """Options for so many players, who join one after another."""
    return ["--players", str(count), "--ramp", f"{count * _CONNECT_EVERY_S:g}"]


def generator_share(result: Result) -> float:
    """Of a core: that of its busiest process."""
    return float(max(result["generator"]["cpu_shares"]))


def measured(result: Result, options: list[str]) -> Measured:
    """The figures that every load gives; those the server has none of are left out.

    ``cpu_ms`` is of a player-second, or of a publisher-second if nobody plays.
    """
    server, nothing = result["server"], {"p50": None, "p99": None}
    video, audio = (result.get(f"{medium}_delay_ms", nothing) for medium in ("video", "audio"))
    found = {
        "cpu_ms": server["cpu_ms_per_player_s"] or server["cpu_ms_per_publisher_s"],
        "cpu_share": server["cpu_share"],
        "memory_mib": server["pss_bytes"] and server["pss_bytes"] / _MIB,
        "video_p50_ms": video["p50"],
        "video_p99_ms": video["p99"],
        "audio_p50_ms": audio["p50"],
        "join_p50_ms": result["join_ms"]["p50"],
        "join_p99_ms": result["join_ms"]["p99"],
        "picture_p50_ms": result["picture_ms"]["p50"],
        "picture_p99_ms": result["picture_ms"]["p99"],
        "generator_share": generator_share(result),
        "request_us": server["cpu_us_per_request"],
        "requests_per_s": result.get("requests", {}).get("per_s"),
    }
    figures = {name: number for name, number in found.items() if number is not None}
    return Measured(figures, result["complaints"], options)
