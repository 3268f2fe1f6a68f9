"""What a run has shown: the seconds of it, the window that was measured, and whether to believe it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from cluster import __version__
from cluster.load.fields import NS_PER_MS, by_role, distribution, flow, plan_fields, rate, without_key
from cluster.load.job import LoadPlan
from cluster.load.origin import host_line
from cluster.load.server_usage import ServerSample
from cluster.load.tally import Report, Role, Standing, Tally

#: Of the form of the JSON; fields may be added without a new one.
FORMAT = 1

#: Why a run ended: every connection was closed or refused.
NOTHING_LEFT = "no connection is left"
#: Beyond these the figures say more about the generator than about the server.
MAX_GENERATOR_SHARE = 0.85
MAX_LATE_MS = 10.0
#: Players did not get the stream if they got less than this share of it, and miss more than MAX_MISSING_S
#: of it: what is on its way when measuring begins and ends is no loss.
MIN_DELIVERED = 0.97
MAX_MISSING_S = 0.5

#: Of the delay's whole distribution: evenly spread over the nines.
_CURVE = [1 - 10 ** (-step / 10) for step in range(41)]


class Second:
    """What all processes counted in one second of a run."""

    __slots__ = ("_standings", "ended_ns", "processes", "tally")

    def __init__(self) -> None:
        self.tally = Tally()
        self._standings: dict[int, Standing] = {}
        self.processes: dict[int, Tally] = {}
        #: When this second was over, in nanoseconds of CLOCK_MONOTONIC.
        self.ended_ns = 0

    def add(self, process: int, report: Report) -> None:
        """Take in a process's report; a second one of the same process goes on where the first ended."""
        self.tally.add(report.tally)
        self.processes.setdefault(process, Tally()).add(report.tally)
        self.ended_ns = max(self.ended_ns, report.at_ns)
        self._standings[process] = report.standing

    def part_of(self, process: int) -> tuple[int, Standing]:
        """The length of this second for ``process``, in nanoseconds, and how that stood at its end."""
        return self.processes[process].elapsed_ns, self._standings[process]

    @property
    def standing(self) -> Standing:
        """How all processes stood at the end of this second."""
        total = Standing()
        for each in self._standings.values():
            total.add(each)
        return total

    @property
    def elapsed_s(self) -> float:
        """How long this second was: less than 1 where a run begins and ends."""
        return max((each.elapsed_ns for each in self.processes.values()), default=0) / 1e9


@dataclass(slots=True)
class LoadResult:
    """Filled while a run goes on; everything can be asked for at any time."""

    plan: LoadPlan
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    #: What was typed, with nothing secret in it; empty where a program asked for the load.
    command: str = ""
    #: Where the load came from.
    host: str = field(default_factory=host_line)
    #: By number, counted from the beginning of the measured window; those before it are below 0.
    seconds: dict[int, Second] = field(default_factory=dict)
    #: When measuring began, in nanoseconds of CLOCK_MONOTONIC.
    measure_ns: int = 0
    #: What was counted before players could join: publishers that were refused.
    before: Tally = field(default_factory=Tally)
    #: How the server stood at the beginning of the second of that number.
    server: dict[int, ServerSample] = field(default_factory=dict)
    server_pss_bytes: int | None = None
    #: Why it ended before its time, if so.
    ended_early: str | None = None
    #: What went wrong in the generator itself.
    faults: list[str] = field(default_factory=list)

    def add(self, process: int, report: Report) -> None:
        """Take in a process's report."""
        self.seconds.setdefault(report.second, Second()).add(process, report)

    # What was measured.

    @property
    def window(self) -> list[Second]:
        """The measured seconds; all of a run that ended before there were any."""
        return [self.seconds[number] for number in _from_0_on(self.seconds)]

    @property
    def window_s(self) -> float:
        return sum(each.elapsed_s for each in self.window)

    @property
    def measured(self) -> Tally:
        """Everything counted in the window."""
        return _sum(each.tally for each in self.window)

    @property
    def counted(self) -> Tally:
        """Everything counted in the whole run."""
        return _sum([self.before, *(each.tally for each in self.seconds.values())])

    def mean_standing(self) -> dict[str, float]:
        """Connections in each state, averaged over the window. Of each process over what it reported of it:
        one that ends a little later than the others is alone in its last part of a second."""
        mean = dict.fromkeys(("publishing", "playing", "slow_playing", "joining"), 0.0)
        for process in {process for each in self.window for process in each.processes}:
            parts = [each.part_of(process) for each in self.window if process in each.processes]
            total_ns = sum(elapsed_ns for elapsed_ns, _ in parts)
            for name in mean:
                weighted = sum(elapsed_ns * getattr(standing, name) for elapsed_ns, standing in parts)
                mean[name] += weighted / total_ns if total_ns else 0.0
        return mean

    @property
    def left_waiting(self) -> int:
        """Players that had no media yet when the run ended. Nobody's fault if that was before its time."""
        last: dict[int, Standing] = {}
        for number in sorted(self.seconds):
            for process in self.seconds[number].processes:
                last[process] = self.seconds[number].part_of(process)[1]
        return 0 if self.ended_early else sum(standing.joining for standing in last.values())

    @property
    def delivered(self) -> float | None:
        """What a player got of what a publisher sent; None without publishers and players of ours.

        Slightly above or below 1 where a server's chunk headers differ from ours.
        """
        standing, measured = self.mean_standing(), self.measured
        if not standing["publishing"] or not standing["playing"] or not measured.sent_bytes:
            return None
        sent = measured.sent_bytes / standing["publishing"]
        return measured.received_bytes / standing["playing"] / sent

    @property
    def complaints(self) -> list[str]:
        """Why this result should not be trusted, or not be liked; empty if nothing is wrong."""
        plan, measured, counted = self.plan, self.measured, self.counted
        found = list(self.faults)
        if self.ended_early is not None:
            found.append(f"ended early: {self.ended_early}")
        if max(self.seconds, default=-1) < 0:
            found.append("it ended before measuring began: all figures are of the time before")
        for number, share in self._cpu_shares():
            if share > MAX_GENERATOR_SHARE:
                found.append(
                    f"the generator was the bottleneck: process {number} used {share:.0%} of a core "
                    "(use more --processes, or fewer connections)"
                )
        late_ns = measured.late.percentile(0.99) or 0.0
        if late_ns / NS_PER_MS > MAX_LATE_MS:
            found.append(
                f"the generator was late by {late_ns / NS_PER_MS:.1f} ms (p99), so delays are its own too "
                "(give it cores of its own)"
            )
        found += [
            f"{count} {role}{'' if count == 1 else 's'} {verb}: {reason}"
            for verb, counter in (("failed", counted.refused), ("lost", counted.ended))
            for (role, reason), count in sorted(counter.items())
        ]
        refused = sorted(counted.failed_requests.items())
        found += [f"{count} request{'' if count == 1 else 's'} failed: {what}" for what, count in refused]
        if waiting := self.left_waiting:
            plural = "" if waiting == 1 else "s"
            found.append(f"{waiting} player{plural} got no media: is the stream published?")
        delivered = self.delivered
        missing_s = 0.0 if delivered is None else (1 - delivered) * self.window_s
        if delivered is not None and delivered < MIN_DELIVERED and missing_s > MAX_MISSING_S:
            found.append(f"players got only {delivered:.1%} of the stream")
        if measured.frames_lost or measured.frames_out_of_order:
            found.append(
                f"sampled players missed {measured.frames_lost} frames, and got "
                f"{measured.frames_out_of_order} out of order"
            )
        if plan.file is not None and measured.delay.count and not measured.delay.total:
            found.append("no delay: the server does not pass timestamps on as they are")
        return found

    @property
    def came_to_nothing(self) -> bool:
        """The server ended it all, or let nobody play."""
        nobody = self.plan.players > 0 and not self.counted.join.count and self.ended_early is None
        return self.ended_early == NOTHING_LEFT or nobody

    @property
    def something_failed(self) -> bool:
        """A connection came to nothing or ended before the run. A server may close slow players."""
        counted = self.counted
        lost = any(role is not Role.SLOW_PLAYER for role, _ in counted.ended)
        return bool(lost or counted.refused or counted.failed_requests or self.left_waiting)

    def _cpu_shares(self) -> list[tuple[int, float]]:
        """Each process and the share of a core that it used."""
        numbers = sorted({number for second in self.window for number in second.processes})
        found = []
        for number in numbers:
            total = _sum(each.processes[number] for each in self.window if number in each.processes)
            found.append((number, total.cpu_ns / total.elapsed_ns if total.elapsed_ns else 0.0))
        return found

    # The server.

    @property
    def server_window(self) -> tuple[ServerSample, ServerSample] | None:
        """The samples at the beginning and at the end of the window."""
        numbers = _from_0_on(self.server)
        if len(numbers) < 2:
            return None
        return self.server[numbers[0]], self.server[numbers[-1]]

    def _server(self) -> dict[str, Any] | None:
        if self.server_window is None:
            return None
        first, last = self.server_window
        elapsed_s = (last.at_ns - first.at_ns) / 1e9
        cpu_s = last.cpu_s - first.cpu_s
        standing, requests = self.mean_standing(), self.measured.requests

        def per(peers: float) -> float | None:
            return cpu_s * 1000 / (peers * elapsed_s) if peers else None

        return {
            "pids": list(self.plan.pids),
            "processes": last.processes,
            "cpu_s": cpu_s,
            "cpu_share": cpu_s / elapsed_s,
            "cpu_ms_per_player_s": per(standing["playing"] + standing["slow_playing"]),
            "cpu_ms_per_publisher_s": per(standing["publishing"]),
            "cpu_us_per_request": cpu_s * 1e6 / requests if requests else None,
            "rss_bytes_max": max(self.server[number].rss_bytes for number in _from_0_on(self.server)),
            "pss_bytes": self.server_pss_bytes,
        }

    # Players of HLS.

    def _requests(self) -> dict[str, Any]:
        """What they asked for; nothing if there are none."""
        answered = self.measured.requests
        if not self.counted.requests:
            return {}
        window_s = self.window_s
        return {
            "requests": {
                "answered": answered,
                "per_s": answered / window_s if window_s else 0.0,
                "failed": dict(sorted(self.counted.failed_requests.items())),
            }
        }

    # As JSON.

    def as_dict(self) -> dict[str, Any]:
        """The form of ``--json``: docs/load.md has its fields."""
        plan, measured, counted, standing = self.plan, self.measured, self.counted, self.mean_standing()
        window_s, delay = self.window_s, measured.delay
        apart = {"video": measured.video_delay, "audio": measured.audio_delay}
        return {
            "format": FORMAT,
            "version": __version__,
            "at": self.at.isoformat(timespec="seconds"),
            "host": self.host,
            "command": self.command,
            "url": without_key(plan.url),
            "plan": plan_fields(plan),
            "window_s": window_s,
            "ended_early": self.ended_early,
            "publishers": {"asked": plan.publishers, "publishing": standing["publishing"]},
            "players": {
                "asked": plan.players,
                "joined": counted.join.count,
                "tried_again": counted.tries_again,
                "playing": standing["playing"],
                "slow_playing": standing["slow_playing"],
                "joining": standing["joining"],
                "stalls": measured.stalls,
                "stalled_s": measured.stalled_ns / 1e9,
            },
            "join_ms": distribution(counted.join),
            "picture_ms": distribution(counted.picture),
            "delay_ms": distribution(delay),
            **{f"{name}_delay_ms": distribution(each) for name, each in apart.items() if each.count},
            "delay_curve": [
                [share, value / NS_PER_MS]
                for share, value in zip(_CURVE, delay.percentiles(_CURVE), strict=False)
            ],
            "frames": {
                "read": measured.frames,
                "lost": measured.frames_lost,
                "out_of_order": measured.frames_out_of_order,
            },
            "sent": flow(measured.sent_bytes, window_s),
            "received": flow(measured.received_bytes, window_s),
            "slow_received": flow(measured.slow_received_bytes, window_s),
            **self._requests(),
            "delivered": self.delivered,
            "refused": by_role(counted.refused),
            "disconnected": by_role(counted.ended),
            "server": self._server(),
            "generator": {
                "late_ms": distribution(measured.late),
                "cpu_shares": [share for _, share in self._cpu_shares()],
            },
            "complaints": self.complaints,
            "timeline": [self.timeline_row(number) for number in sorted(self.seconds)],
        }

    def timeline_row(self, number: int) -> dict[str, Any]:
        """One second, all processes together."""
        second = self.seconds[number]
        before, after = self.server.get(number), self.server.get(number + 1)
        share = None
        if before is not None and after is not None and after.at_ns > before.at_ns:
            share = (after.cpu_s - before.cpu_s) * 1e9 / (after.at_ns - before.at_ns)
        tally, standing, elapsed_s = second.tally, second.standing, second.elapsed_s
        return {
            "ends_s": (second.ended_ns - self.measure_ns) / 1e9,
            "elapsed_s": elapsed_s,
            "publishing": standing.publishing,
            "playing": standing.playing + standing.slow_playing,
            "joining": standing.joining,
            "delay_ms": distribution(tally.delay),
            "sent_bits_per_s": rate(tally.sent_bytes, elapsed_s),
            "received_bits_per_s": rate(tally.received_bytes + tally.slow_received_bytes, elapsed_s),
            "stalls": tally.stalls,
            "disconnects": tally.ended.total(),
            "server_cpu_share": share,
            "server_rss_bytes": None if after is None else after.rss_bytes,
            "generator_cpu_share": tally.cpu_ns / 1e9 / elapsed_s if elapsed_s else 0.0,
        }


def _from_0_on(by_second: Mapping[int, object]) -> list[int]:
    """The numbers in ascending order: those of the measured window, or all if there are none of it."""
    return sorted(number for number in by_second if number >= 0) or sorted(by_second)


def _sum(tallies: Iterable[Tally]) -> Tally:
    total = Tally()
    for each in tallies:
        total.add(each)
    return total
