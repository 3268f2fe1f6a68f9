"""``python tests/fuzz``: fuzz every decoder and both session roles, and say how much was done.

    python tests/fuzz --seconds 600                 all targets, ten minutes in all
    python tests/fuzz --executions 10000000         all targets, until they have had so many inputs in all
    python tests/fuzz --only amf0 --seed 7          one target
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from multiprocessing import Pool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from fuzz_runner import FailureFoundError, Result, run
from fuzz_targets import TARGETS, Target

#: A target's turn; short, so that a failure shows early and all targets have theirs.
_TURN_S = 10.0
_NICE = 19


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    targets = [target for target in TARGETS if not options.only or target.name in options.only]
    totals: dict[str, Result] = {}
    deadline = time.monotonic() + options.seconds
    seed = options.seed
    os.nice(_NICE - os.nice(0))
    try:
        with Pool(options.processes) as pool:
            while time.monotonic() < deadline and _executions(totals) < (options.executions or sys.maxsize):
                turn_s = min(_TURN_S, options.seconds * options.processes / len(targets))
                work = [(target.name, seed + number, turn_s) for number, target in enumerate(targets)]
                for result in pool.imap_unordered(_turn, work):
                    _add(totals, result)
                seed += len(targets)
    except FailureFoundError as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        _print(totals, options.seed, seed)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/fuzz")
    parser.add_argument("--seconds", type=float, default=600.0, help="in all, over all targets")
    parser.add_argument("--executions", type=int, help="stop when so many inputs were executed in all")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--only", nargs="*", choices=[target.name for target in TARGETS])
    return parser.parse_args(arguments)


def _turn(work: tuple[str, int, float]) -> Result:
    name, seed, seconds = work
    return run(_named(name), seed=seed, seconds=seconds)


def _named(name: str) -> Target:
    return next(target for target in TARGETS if target.name == name)


def _add(totals: dict[str, Result], new: Result) -> None:
    old = totals.get(new.target)
    if old is None:
        totals[new.target] = new
        return
    totals[new.target] = Result(
        new.target, old.seconds + new.seconds, old.executions + new.executions, old.refused + new.refused,
        max(old.slowest_s, new.slowest_s), max(old.grown_bytes, new.grown_bytes),
    )  # fmt: skip


def _executions(totals: dict[str, Result]) -> int:
    return sum(result.executions for result in totals.values())


def _print(totals: dict[str, Result], first_seed: int, next_seed: int) -> None:
    row = "{:<18} {:>8} {:>12} {:>10} {:>9} {:>10}".format
    print(row("target", "minutes", "executions", "refused %", "us each", "grown MiB"))
    for result in totals.values():
        print(row(
            result.target, f"{result.seconds / 60:.2f}", f"{result.executions:,}",
            f"{100 * result.refused / max(result.executions, 1):.0f}",
            f"{1e6 * result.seconds / max(result.executions, 1):.0f}", f"{result.grown_bytes / 2**20:.1f}",
        ))  # fmt: skip
    minutes = sum(result.seconds for result in totals.values()) / 60
    executions = f"{_executions(totals):,}"
    print(row("all", f"{minutes:.2f}", executions, "", "", ""), f"(seeds {first_seed} to {next_seed - 1})")


if __name__ == "__main__":
    raise SystemExit(main())
