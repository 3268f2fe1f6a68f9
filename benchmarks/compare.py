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
from benchmarks.load import LoadError, Result, measure

_REFERENCE = "nginx-rtmp"
_MIB = 1024 * 1024
_CONNECT_EVERY_S = 0.004


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One row of the table: a scenario against one server."""

    scenario: str
    server: str
    start: Callable[[], contextlib.AbstractContextManager[servers.Server]]
    #: Options of ``rtmp-cluster load``.
    load: list[str]
    #: What CPU is divided by: "player" or "publisher".
    peer: str


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
    parser.add_argument(
        "--drain", choices=["timer", "arrival"], default="arrival",
        help="when players that are not sampled read (%(default)s)",
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
    cases: list[Case] = []
    if options.scenario in ("play", "all"):
        # As fast as one connection after another each 4 ms.
        ramp = ["--ramp", str(options.players * _CONNECT_EVERY_S)]
        load = [*_common(options), "--players", str(options.players), *ramp]
        cases += _servers("play", "player", wanted, options, load)
        if "floor" in wanted:
            cases += [
                Case("play", f"floor, {ms} ms batches" if ms else "floor, unbatched", _floor(options, ms),
                     [*load, "--publishers", "0"], "player")
                for ms in (0, 50)
            ]  # fmt: skip
    if options.scenario in ("publish", "all"):
        load = [*_common(options), "--publishers", str(options.publishers), "--ramp", "0"]
        cases += _servers("publish", "publisher", wanted, options, load)
    return cases


def _servers(
    scenario: str, peer: str, wanted: list[str], options: argparse.Namespace, load: list[str]
) -> list[Case]:
    """nginx-rtmp and the edge, the latter with each latency budget."""
    cases = []
    if "nginx" in wanted:
        cases.append(Case(scenario, _REFERENCE, _nginx(options), load, peer))
    if "edge" in wanted:
        cases += [
            Case(scenario, f"edge, budget {ms} ms", _edge(options, ms), load, peer)
            for ms in options.latency_budget or [0, 50]
        ]
    return cases


def _common(options: argparse.Namespace) -> list[str]:
    """What every load has."""
    return [
        "--bitrate", str(options.bitrate), "--chunk-size", str(options.chunk_size), "--settle",
        str(options.settle), "--duration", str(options.window), "--drain", options.drain,
    ]  # fmt: skip


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
        players=options.players, batch_ms=batch_ms, bitrate=options.bitrate,
        chunk_size=options.chunk_size, cores=options.server_cores,
    )


def _measure(case: Case, options: argparse.Namespace) -> Result:
    with case.start() as server:
        return measure(server, case.load, options.generator_cores)


def _cpu_ms(case: Case, result: Result) -> float:
    """Of the server, for each peer and second."""
    return float(result["server"][f"cpu_ms_per_{case.peer}_s"])


def _record(case: Case, number: int, result: Result, stamp: dict[str, str]) -> dict[str, object]:
    return {
        **stamp, "scenario": case.scenario, "server": case.server, "round": number,
        "cpu_ms_per_peer_s": round(_cpu_ms(case, result), 4), "load": result,
    }  # fmt: skip


def _median(values: list[float | None]) -> float | None:
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def _shown(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _table(cases: list[Case], results: dict[Case, list[Result]]) -> str:
    """Medians over the rounds, a block per scenario."""
    lines: list[str] = []
    for scenario in ("play", "publish"):
        rows = [case for case in cases if case.scenario == scenario and results[case]]
        if not rows:
            continue
        cpu = {case: statistics.median(_cpu_ms(case, each) for each in results[case]) for case in rows}
        reference = next((cpu[case] for case in rows if case.server == _REFERENCE), None)
        peer = rows[0].peer
        lines += [
            "", f"{scenario}: {results[rows[0]][0][peer + 's']['asked']} {peer}s",
            f"{'':26}{'CPU ms per':>18}{'of':>12}{'delay ms':>10}{'':>8}{'memory':>9}{'generator':>11}",
            f"{'server':26}{peer + '-second':>18}{_REFERENCE:>12}{'p50':>10}{'p99':>8}{'MiB':>9}"
            f"{'of a core':>11}",
        ]  # fmt: skip
        for case in rows:
            found = results[case]
            ratio = None if not reference else cpu[case] / reference
            memory = _median([each["server"]["pss_bytes"] for each in found])
            own = statistics.median(max(each["generator"]["cpu_shares"]) for each in found)
            lines.append(
                f"{case.server:26}{cpu[case]:>18.3f}{_shown(ratio, 2):>12}"
                f"{_shown(_median([each['delay_ms']['p50'] for each in found]), 2):>10}"
                f"{_shown(_median([each['delay_ms']['p99'] for each in found]), 2):>8}"
                f"{_shown(memory and memory / _MIB, 1):>9}{own:>11.0%}"
            )
            complaints = sorted({text for each in found for text in each["complaints"]})
            lines += [f"    warning: {text}" for text in complaints]
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
    results: dict[Case, list[Result]] = {case: [] for case in cases}
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
            print(f"{label}: {_cpu_ms(case, result):.3f} ms", file=sys.stderr)
            if options.json:
                with options.json.open("a") as output:
                    output.write(json.dumps(_record(case, number, result, stamp)) + "\n")
    print(f"commit {stamp['commit']}; {stamp['machine']}\n{command}{_table(cases, results)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
