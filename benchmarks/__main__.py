"""Measure this server: beside others, across workers, in memory, and as players see it.

    python -m benchmarks --list                                      # what there is to measure
    python -m benchmarks --json results.jsonl                        # all but the soak
    python -m benchmarks --scenario play-300 --rounds 5              # one of them
    python -m benchmarks --report results.jsonl                      # write docs/benchmarks.md and .svg

A server runs on one core and the load generator on another, where a scenario does not say otherwise. Each
round starts every server anew, in turns; the tables show medians over the rounds.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import machine, records, report
from benchmarks.load import LoadError
from benchmarks.model import Case, Measured, Record, Scenario, Setting
from benchmarks.process import ServerError
from benchmarks.quota import QuotaError
from benchmarks.scenarios import SCENARIOS


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    names = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("--list", action="store_true", help="name the scenarios and how long they take")
    parser.add_argument(
        "--scenario", action="append", choices=names, metavar="NAME",
        help="only this one (repeat for several)",
    )  # fmt: skip
    parser.add_argument("--rounds", type=_at_least_one, default=3, help="(%(default)s)")
    parser.add_argument("--window", type=float, default=10.0, metavar="S", help="measured (%(default)s s)")
    parser.add_argument("--settle", type=float, default=2.0, metavar="S", help="before it (%(default)s s)")
    parser.add_argument("--soak-seconds", type=float, default=1800.0, metavar="S", help="(%(default)s)")
    parser.add_argument("--server-cores", type=_cores, default={0}, metavar="N[,N]|any", help="(0)")
    parser.add_argument("--generator-cores", type=_cores, default={1}, metavar="N[,N]|any", help="(1)")
    parser.add_argument("--srs", type=_program, metavar="PATH", help="measure this SRS too")
    parser.add_argument("--mediamtx", type=_program, metavar="PATH", help="measure this MediaMTX too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="append one JSON line a measurement")
    parser.add_argument(
        "--report", type=Path, metavar="FILE",
        help="measure nothing: write docs/benchmarks.md and its picture from these JSON lines",
    )  # fmt: skip
    return parser.parse_args(arguments)


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def _cores(text: str) -> set[int] | None:
    cores = None if text == "any" else {int(part) for part in text.split(",")}
    if cores is not None and not cores <= os.sched_getaffinity(0):
        raise argparse.ArgumentTypeError(f"this process may use the cores {os.sched_getaffinity(0)}")
    return cores


def _program(text: str) -> Path:
    if not os.access(text, os.X_OK):
        raise argparse.ArgumentTypeError(f"{text} is no program")
    return Path(text).resolve()


def wanted(options: argparse.Namespace) -> list[Scenario]:
    """The scenarios that were named; all but those on demand if none was."""
    if options.scenario:
        return [scenario for scenario in SCENARIOS if scenario.name in options.scenario]
    return [scenario for scenario in SCENARIOS if not scenario.on_demand]


def _setting(options: argparse.Namespace) -> Setting:
    return Setting(
        window_s=options.window, settle_s=options.settle, soak_s=options.soak_seconds,
        server_cores=options.server_cores, generator_cores=options.generator_cores,
        srs=options.srs, mediamtx=options.mediamtx,
    )  # fmt: skip


def _list(setting: Setting) -> None:
    for scenario in SCENARIOS:
        note = ", only when named" if scenario.on_demand else ""
        minutes = scenario.seconds(setting) / 60
        print(f"{scenario.name:24}{minutes:5.1f} min a round{note}: {scenario.title}")


def _measure(case: Case) -> Measured:
    """What went wrong becomes a complaint of a measurement without figures."""
    try:
        return case.measure()
    except (LoadError, ServerError, QuotaError) as error:
        return Measured({}, [f"not measured: {' '.join(str(error).split())}"], [])


def _run(scenarios: list[Scenario], options: argparse.Namespace, command: str) -> list[Record]:
    """Scenario by scenario, in rounds over its cases; each measurement is written when it is made."""
    setting = _setting(options)
    origin = {
        "commit": machine.commit(), "machine": machine.machine(), "interpreter": machine.interpreter(),
        "command": command,
    }  # fmt: skip
    minutes = options.rounds * sum(scenario.seconds(setting) for scenario in scenarios) / 60
    print(f"about {minutes:.0f} minutes", file=sys.stderr)
    made: list[Record] = []
    for scenario in scenarios:
        cases = scenario.cases(setting)
        for number in range(1, options.rounds + 1):
            for case in cases:
                measured = _measure(case)
                at = {"at": datetime.now(UTC).isoformat(timespec="seconds")}
                made.append(records.record({**at, **origin}, scenario.name, case.name, number, measured))
                if options.json:
                    records.append(options.json, made[-1])
                label = f"{scenario.name}, round {number} of {options.rounds}, {case.name}"
                told = "; ".join(measured.complaints) or "done"
                print(f"{label}: {told}", file=sys.stderr)
    return made


def main(arguments: list[str] | None = None) -> int:
    """0: every aim was measured, reached or not; 1: one was not; 2: the arguments."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parse(arguments)
    # So that servers and control groups are cleaned up, as with Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if options.list:
        _list(_setting(options))
        return 0
    if options.report:
        try:
            report.write(records.read(options.report), SCENARIOS)
        except records.RecordError as error:
            print(error, file=sys.stderr)
            return 2
        return 0
    command = shlex.join(["python", "-m", "benchmarks", *arguments])
    made = _run(wanted(options), options, command)
    print(report.markdown(made, SCENARIOS))
    judged = report.verdicts(made, SCENARIOS)
    return 1 if any(verdict.reached is None for verdict in judged) else 0


if __name__ == "__main__":
    sys.exit(main())
