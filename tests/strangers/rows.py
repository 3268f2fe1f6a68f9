"""What a run has shown, as one row; whether it stays within the bounds, and the table."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .bounds import MIB, WELL_FOR_S, WELL_MS, Bounds
from .healthy import Passage, Record
from .wire import Tally

#: A peer that leaves by itself was not closed.
LEFT = ("peer_closed", "peer_reset", "drained")


#: Recovery is told in steps of this.
RECOVERY_STEP_S = 0.2
#: What was set up is left alone for so long before its cost is looked at.
_SETTLE_S = 0.5


@dataclass(slots=True)
class Usage:
    """Memory and CPU of the edge's processes at one moment. ``router``: that of the router, which in a node
    of its own is the supervisor."""

    at: float
    workers: list[int]
    router: int
    worker_cpu_s: list[float]
    router_cpu_s: float


@dataclass(slots=True)
class Row:
    name: str
    base: int = 0
    peak: int = 0
    after: int = 0
    router_base: int = 0
    router_peak: int = 0
    cpu: float = 0.0
    cpu_before: float = 0.0
    router_cpu: float = 0.0
    #: Of the busiest worker while the attackers only hold what they have; None if they never do.
    held_cpu: float | None = None
    p50_ms: float = 0.0
    p99_before_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0
    machine_ms: float = 0.0
    silence_s: float = 0.0
    recover_s: float | None = None
    #: What "well again" means for this row.
    well_ms: float = WELL_MS
    joins: int = 0
    joins_failed: int = 0
    join_s: float = 0.0
    log_bytes_per_s: float = 0.0
    tally: Tally = field(default_factory=Tally)
    reasons: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    complaints: list[str] = field(default_factory=list)

    @property
    def noise_ms(self) -> float:
        """How late frames are without the attack: by the relay during it, and by the edge before it."""
        return max(self.machine_ms, self.p99_before_ms)

    def as_json(self) -> dict[str, Any]:
        names = [name for name in self.__slots__ if name != "tally"]  # type: ignore[attr-defined]
        counted = ("opened", "refused", "sent", "received", "closed", "notes")
        return {name: getattr(self, name) for name in names} | {
            name: getattr(self.tally, name) for name in counted
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of them does not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def delays_ms(passages: Sequence[Passage], first: float, last: float, now: float) -> list[float]:
    """Of what was sent between the two; what has not come yet is as late as it is ``now``."""
    return [1000 * ((came or now) - sent) for sent, came in passages if first <= sent < last]


def longest_silence_s(passages: Sequence[Passage], first: float, last: float) -> float:
    """The longest time in which nothing came, between the two."""
    came = sorted(at for _sent, at in passages if at is not None and first <= at <= last)
    moments = [first, *came, last]
    return max(after - before for before, after in itertools.pairwise(moments))


def recovery_s(record: Record, judged: Sequence[int], ended: float, well_ms: float) -> float | None:
    """Seconds from the end of an attack to the first half second of which every frame came in time."""
    step, length = RECOVERY_STEP_S, WELL_FOR_S
    start = ended
    while start + length <= record.ended_at - well_ms / 1000:
        machine = max(delays_ms(record.relayed, start, start + length, record.ended_at), default=0.0)
        slowest = [
            max(delays_ms(record.frames[each], start, start + length, record.ended_at), default=1e9)
            for each in judged
        ]
        if max(slowest) < well_ms + machine:
            return start - ended
        start += step
    return None


def measure(
    row: Row, record: Record, judged: Sequence[int], began: float, ended: float, joins_after_s: float = 0.0
) -> None:
    """Fill in what the healthy streams and honest peers have seen of an attack between the two times.

    Of the honest peers those count that came ``joins_after_s`` after its beginning or later. Who plays a
    stream that is not judged may have nothing to be served with.
    """
    now = record.ended_at
    before = [delays_ms(record.frames[each], 0.0, began, now) for each in judged]
    during = [delays_ms(record.frames[each], began, ended, now) for each in judged]
    row.p99_before_ms = max(percentile(each, 0.99) for each in before)
    row.p50_ms = max(percentile(each, 0.5) for each in during)
    row.p99_ms = max(percentile(each, 0.99) for each in during)
    row.max_ms = max((max(each, default=0.0) for each in during), default=0.0)
    row.machine_ms = percentile(delays_ms(record.relayed, began, ended, now), 0.99)
    row.silence_s = max(longest_silence_s(record.frames[each], began, now) for each in judged)
    row.recover_s = recovery_s(record, judged, ended, row.well_ms)
    served = [
        took
        for at, played, took in record.joins
        if began + joins_after_s <= at < ended and (played is None or played in judged)
    ]
    row.joins = len(served)
    row.joins_failed = served.count(None)
    row.join_s = max((took for took in served if took is not None), default=0.0)
    lost = [f"the healthy {kind} was closed" for number, kind in record.lost if number in judged]
    row.complaints += lost


def weigh(row: Row, usages: Sequence[Usage], began: float, ended: float) -> None:
    """Fill in memory and CPU."""
    before = [each for each in usages if each.at <= began] or list(usages[:1])
    during = [each for each in usages if each.at >= began]
    attack = [before[-1], *(each for each in during if each.at <= ended + 0.3)]
    row.base, row.router_base = max(before[-1].workers), before[-1].router
    row.peak = max(max(each.workers) for each in [*before[-1:], *during])
    row.router_peak = max(each.router for each in [*before[-1:], *during])
    row.after = max(during[-1].workers) if during else row.base
    row.cpu_before, _ = _cpu(before)
    row.cpu, row.router_cpu = _cpu(attack)
    held_from = row.tally.notes.get("held_from")
    held = [each for each in during if held_from is not None and held_from + _SETTLE_S < each.at < ended]
    row.held_cpu = _cpu(held)[0] if len(held) > 1 else None


def _cpu(usages: Sequence[Usage]) -> tuple[float, float]:
    """Cores, of the busiest worker and of the router, over all of that time."""
    first, last = usages[0], usages[-1]
    seconds = max(last.at - first.at, 0.01)
    workers = [b - a for a, b in zip(first.worker_cpu_s, last.worker_cpu_s, strict=False)]
    return max(workers, default=0.0) / seconds, (last.router_cpu_s - first.router_cpu_s) / seconds


def judge(row: Row, bounds: Bounds) -> None:
    """Add what goes beyond the bounds to the complaints."""
    say = row.complaints.append
    noise_ms = row.noise_ms
    if row.peak > bounds.worker_ceiling(row.base):
        say(f"a worker grew to {row.peak / MIB:.0f} MB, not {bounds.worker_ceiling(row.base) / MIB:.0f}")
    grown = row.router_peak - row.router_base
    if grown > bounds.router_growth_bytes:
        say(f"the router grew by {grown / MIB:.0f} MB, not {bounds.router_growth_bytes / MIB:.0f}")
    if bounds.p99_ms is not None and row.p99_ms > bounds.p99_ms + noise_ms:
        say(f"healthy p99 {row.p99_ms:.0f} ms, not {bounds.p99_ms:.0f}")
    if bounds.silence_s is not None and row.silence_s > bounds.silence_s + noise_ms / 1000:
        say(f"silent for {row.silence_s:.1f} s")
    if bounds.recover_s is not None and (row.recover_s is None or row.recover_s > bounds.recover_s):
        say("not well again" if row.recover_s is None else f"well again after {row.recover_s:.1f} s")
    if bounds.join_s is not None and row.joins_failed:
        say(f"{row.joins_failed} of {row.joins} honest peers not served")
    if bounds.join_s is not None and row.join_s > bounds.join_s + noise_ms / 1000:
        say(f"an honest peer served after {row.join_s:.1f} s")
    if row.log_bytes_per_s > bounds.log_bytes_per_s:
        say(f"{row.log_bytes_per_s / 1000:.0f} kB of log a second")
    if bounds.held_cpu is not None and (row.held_cpu or 0.0) > row.cpu_before + bounds.held_cpu:
        say(f"{row.held_cpu:.2f} cores for peers that do nothing")
    if row.reasons.get("internal_error"):
        say("closed as internal_error")
    row.complaints += row.tally.complaints


_HEAD = (
    "attack", "worker MB", "router MB", "cpu", "p99 ms", "max", "mach.", "silent", "well", "honest",
    "served", "held", "peers", "in MB", "out MB", "closed as", "verdict",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    closed = {name: count for name, count in row.reasons.items() if name not in LEFT}
    verdict = "FAIL: " + "; ".join(row.complaints) if row.complaints else "pass"
    if row.noise_ms > WELL_MS:
        verdict += " (on a busy machine)"
    return (
        row.name,
        f"{row.base / MIB:.0f}>{row.peak / MIB:.0f}>{row.after / MIB:.0f}",
        f"{row.router_base / MIB:.0f}>{row.router_peak / MIB:.0f}",
        f"{row.cpu:.2f}+{row.router_cpu:.2f}",
        f"{row.p99_before_ms:.0f}>{row.p99_ms:.0f}",
        f"{row.max_ms:.0f}",
        f"{row.machine_ms:.0f}",
        f"{row.silence_s:.2f}",
        "never" if row.recover_s is None else f"{row.recover_s:.1f}",
        f"{row.joins - row.joins_failed}/{row.joins}",
        f"{row.join_s:.2f}",
        "-" if row.held_cpu is None else f"{row.held_cpu:.2f}",
        f"{row.tally.opened}-{row.tally.refused}-{row.tally.closed}",
        f"{row.tally.sent / 1e6:.1f}",
        f"{row.tally.received / 1e6:.1f}",
        " ".join(f"{name}={count}" for name, count in sorted(closed.items())) or "-",
        verdict,
    )


_WIDTHS = (20, 15, 9, 10, 10, 6, 5, 6, 6, 7, 6, 5, 14, 8, 9, 24, 0)

LEGEND = """\
worker MB   the largest worker before > at the peak > at the end; router MB the same
cpu         cores of the busiest worker + the router
p99 ms      delay of the healthy streams before > during; max: of their latest frame
mach.       p99 of a relay that does nothing, at that time
silent      the longest time without a healthy frame, s
well        seconds until all frames of half a second come within 20 ms
honest      new honest peers that were served; served: the slowest of them, s
held        cores of the busiest worker while the attackers only hold what they have
peers       opened - refused - closed by the edge"""


def head() -> str:
    return line(_HEAD)


def line(texts: Sequence[str]) -> str:
    return " ".join(text.ljust(width) for text, width in zip(texts, _WIDTHS, strict=True)).rstrip()
