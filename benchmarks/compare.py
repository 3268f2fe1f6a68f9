"""Measure this server beside nginx-rtmp: the same load, the same cores, in turns, in one run.

    python -m benchmarks.compare                 # both scenarios, three rounds
    python -m benchmarks.compare --scenario play --players 300 --rounds 5 --json results.jsonl

The server runs on one core and the load generator on another. Each round starts every server anew;
the table shows medians over the rounds, and ratios to nginx-rtmp.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import proc, servers
from benchmarks.load import LoadError, LoadResult, play_load, publish_load
from benchmarks.media import StreamShape

_REFERENCE = "nginx-rtmp"
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table: a scenario against one server."""

    scenario: str
    server: str
    start: Callable[[], contextlib.AbstractContextManager[servers.Server]]
    load: Callable[[servers.Server], LoadResult]


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compare", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--scenario", choices=["play", "publish", "all"], default="all")
    parser.add_argument(
        "--server", action="append", choices=["nginx", "edge", "floor"],
        help="measure only these (repeat for several; default: all)",
    )  # fmt: skip
    parser.add_argument("--players", type=int, default=300, help="players of the one stream (%(default)s)")
    parser.add_argument("--publishers", type=int, default=200, help="publishers (%(default)s)")
    parser.add_argument("--bitrate", type=int, default=2_500_000, help="bits a second (%(default)s)")
    parser.add_argument("--chunk-size", type=int, default=4096, help="of all peers (%(default)s)")
    parser.add_argument(
        "--latency-budget", action="append", type=int, metavar="MS",
        help="of the edge when playing (repeat for several; default: 0 and 50)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes of each server (%(default)s)")
    parser.add_argument("--window", type=float, default=10.0, metavar="S", help="measured (%(default)s s)")
    parser.add_argument("--settle", type=float, default=2.0, metavar="S", help="before it (%(default)s s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--server-cores", type=_cores, default={0}, metavar="N[,N]|any", help="(0)")
    parser.add_argument("--generator-cores", type=_cores, default={1}, metavar="N[,N]|any", help="(1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append one JSON line a measurement")
    return parser.parse_args(arguments)


def _cores(text: str) -> set[int] | None:
    return None if text == "any" else {int(part) for part in text.split(",")}


def _cases(options: argparse.Namespace) -> list[Case]:
    wanted = options.server or ["nginx", "edge", "floor"]
    shape = StreamShape(bits_per_second=options.bitrate, chunk_size=options.chunk_size)
    cases: list[Case] = []
    if options.scenario in ("play", "all"):
        cases += [case for kind in wanted for case in _play_cases(kind, options, shape)]
    if options.scenario in ("publish", "all"):
        cases += [case for kind in wanted for case in _publish_cases(kind, options, shape)]
    return cases


def _play_cases(kind: str, options: argparse.Namespace, shape: StreamShape) -> list[Case]:
    def load(server: servers.Server) -> LoadResult:
        return play_load(
            server.port, server.pid, players=options.players, shape=shape, window_s=options.window,
            settle_s=options.settle, bare=kind == "floor",
        )  # fmt: skip

    if kind == "nginx":
        return [Case("play", _REFERENCE, _nginx(options), load)]
    if kind == "edge":
        budgets = options.latency_budget or [0, 50]
        return [Case("play", f"edge, budget {ms} ms", _edge(options, ms), load) for ms in budgets]
    return [
        Case("play", f"floor, {ms} ms batches" if ms else "floor, unbatched", _floor(options, ms), load)
        for ms in (0, 50)
    ]


def _publish_cases(kind: str, options: argparse.Namespace, shape: StreamShape) -> list[Case]:
    def load(server: servers.Server) -> LoadResult:
        return publish_load(
            server.port, server.pid, publishers=options.publishers, shape=shape,
            window_s=options.window, settle_s=options.settle,
        )  # fmt: skip

    if kind == "nginx":
        return [Case("publish", _REFERENCE, _nginx(options), load)]
    if kind == "edge":
        budgets = options.latency_budget or [0, 50]
        return [Case("publish", f"edge, budget {ms} ms", _edge(options, ms), load) for ms in budgets]
    return []


def _nginx(options: argparse.Namespace) -> Callable[[], contextlib.AbstractContextManager[servers.Server]]:
    return lambda: servers.nginx(
        workers=options.workers, chunk_size=options.chunk_size, cores=options.server_cores
    )


def _edge(
    options: argparse.Namespace, budget_ms: int
) -> Callable[[], contextlib.AbstractContextManager[servers.Server]]:
    return lambda: servers.edge(
        workers=options.workers, latency_budget_ms=budget_ms, cores=options.server_cores
    )


def _floor(
    options: argparse.Namespace, batch_ms: int
) -> Callable[[], contextlib.AbstractContextManager[servers.Server]]:
    return lambda: servers.floor(
        sockets=options.players, batch_ms=batch_ms, chunk_size=options.chunk_size,
        cores=options.server_cores,
    )


def _measure(case: Case, options: argparse.Namespace) -> LoadResult:
    with case.start() as server, proc.on_cores(options.generator_cores):
        return case.load(server)


def _record(case: Case, number: int, result: LoadResult, stamp: dict[str, str]) -> dict[str, object]:
    return {
        **stamp, "scenario": case.scenario, "server": case.server, "round": number, "peers": result.peers,
        "window_s": round(result.window_s, 3), "cpu_ms_per_peer_s": round(result.cpu_ms_per_peer_s, 4),
        "delay_p50_ms": result.delay_p50_ms, "delay_p99_ms": result.delay_p99_ms,
        "memory_bytes": result.server_memory_bytes, "delivered": result.delivered,
        "missing_messages": result.missing_messages, "generator_share": round(result.generator_share, 3),
        "late_p99_ms": round(result.late_p99_ms, 3), "complaints": result.complaints,
    }  # fmt: skip


def _median(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(cases: list[Case], results: dict[Case, list[LoadResult]]) -> str:
    """Medians over the rounds, a block per scenario."""
    lines: list[str] = []
    for scenario, unit in (("play", "player-second"), ("publish", "publisher-second")):
        rows = [case for case in cases if case.scenario == scenario and results[case]]
        if not rows:
            continue
        cpu = {case: statistics.median(r.cpu_ms_per_peer_s for r in results[case]) for case in rows}
        reference = next((cpu[case] for case in rows if case.server == _REFERENCE), None)
        lines += [
            "", f"{scenario}: {results[rows[0]][0].peers} peers",
            f"{'':26}{'CPU ms per':>18}{'of':>12}{'delay ms':>10}{'':>8}{'memory':>9}{'generator':>11}",
            f"{'server':26}{unit:>18}{_REFERENCE:>12}{'p50':>10}{'p99':>8}{'MiB':>9}{'of a core':>11}",
        ]  # fmt: skip
        for case in rows:
            found = results[case]
            ratio = None if not reference else cpu[case] / reference
            memory = statistics.median(r.server_memory_bytes for r in found) / _MIB
            lines.append(
                f"{case.server:26}{cpu[case]:>18.3f}{_shown(ratio, 2):>12}"
                f"{_shown(_median([r.delay_p50_ms for r in found]), 2):>10}"
                f"{_shown(_median([r.delay_p99_ms for r in found]), 2):>8}{memory:>9.1f}"
                f"{statistics.median(r.generator_share for r in found):>11.0%}"
            )
            lines += [f"    warning: {text}" for text in sorted({c for r in found for c in r.complaints})]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parse(arguments)
    command = shlex.join(["python", "-m", "benchmarks.compare", *arguments])
    stamp = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"), "commit": proc.commit(),
        "machine": proc.machine(), "command": command,
    }  # fmt: skip
    cases = _cases(options)
    results: dict[Case, list[LoadResult]] = {case: [] for case in cases}
    failed = False
    for number in range(1, options.rounds + 1):
        for case in cases:
            label = f"round {number}/{options.rounds} {case.scenario} {case.server}"
            try:
                result = _measure(case, options)
            except (LoadError, servers.ServerError) as error:
                failed = True
                print(f"{label}: failed: {error}", file=sys.stderr)
                continue
            results[case].append(result)
            print(f"{label}: {result.cpu_ms_per_peer_s:.3f} ms", file=sys.stderr)
            if options.json:
                with options.json.open("a") as output:
                    output.write(json.dumps(_record(case, number, result, stamp)) + "\n")
    print(f"commit {stamp['commit']}; {stamp['machine']}\n{command}{_table(cases, results)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
