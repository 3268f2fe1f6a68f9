"""What one generator process does: its publishers and players on one loop, by the schedule of the run."""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection

from cluster.core.rtmp.url import RtmpUrl
from cluster.load.dialogue import Dialogue
from cluster.load.http_url import HttpUrl
from cluster.load.job import Drain, Job, LoadPlan, PlayerJob, Schedule, ServerAddress
from cluster.load.loop import Loop
from cluster.load.media import MAGIC_AT, Script, file_script, synthetic_script
from cluster.load.peer import Common, Peer, State, Target
from cluster.load.player import Player
from cluster.load.players import new_player
from cluster.load.publisher import Publisher
from cluster.load.tally import Report, Role, Standing, Tally

SECOND_NS = 1_000_000_000
#: One connection of a publisher after another, so that no server's queue of connections overflows.
_CONNECT_EVERY_NS = 4_000_000
_LOOK_EVERY_NS = 10_000_000
#: What is left at the end is reported with the second before it, if it is no longer than that.
_REST_NS = 100_000_000
#: How often each plain player is drained, and how many at once: few, so that nothing else waits for long.
DRAIN_EVERY_NS = 50_000_000
_DRAINED_AT_ONCE = 32


def _target(plan: LoadPlan, url: RtmpUrl | HttpUrl, server: ServerAddress) -> Target:
    name = plan.tls.server_name or url.host
    if url.tls:
        return Target(server, name, plan.tls.context(), url.scheme.removesuffix("s"))
    return Target(server, name, scheme=url.scheme)


@dataclass(frozen=True, slots=True)
class Ready:
    """The publishers have been answered: ``granted`` may publish; ``tally`` says why the others may not."""

    granted: int
    tally: Tally


class Generator:
    """Runs one job. Tells ``conductor`` Ready and then Reports; is told a Schedule, and None to stop."""

    def __init__(self, job: Job, conductor: Connection) -> None:
        plan = job.plan
        self._job = job
        self._plan = plan
        self._conductor = conductor
        self._loop = Loop()
        self._common = Common(
            self._loop, plan.chunk_size,
            publish_to=_target(plan, plan.url, job.publish_to),
            play_from=_target(plan, plan.play_url, job.play_from),
        )  # fmt: skip
        self._publishers: list[Publisher] = []
        self._players: list[Player] = []
        #: The players that are drained by a timer.
        self._plain: list[Player] = []
        self._scripts: dict[int, Script] = {}
        self._schedule: Schedule | None = None
        self._cpu_ns = self._began_ns = 0
        self._slices = 1
        self._slice = 0

    def run(self) -> None:
        """Until the schedule ends or the conductor says so or is gone."""
        self._loop.watch(self._conductor.fileno(), self, select.EPOLLIN)
        now_ns = time.monotonic_ns()
        self._loop.call_at(now_ns, self._connect_publisher)
        self._loop.call_at(now_ns, self._look_at_publishers)
        try:
            self._loop.run()
        finally:
            for peer in self._peers():
                peer.close(None)
            self._loop.close()

    def _peers(self) -> list[Peer]:
        return [*self._publishers, *self._players]

    # The conductor.

    def on_event(self, events: int) -> None:
        try:
            schedule = self._conductor.recv()
        except (EOFError, OSError):  # the conductor is gone
            self._loop.stop()
            return
        if schedule is not None:
            self._start(schedule)
            return
        if self._schedule is not None:  # the part of a second that is left
            second = (time.monotonic_ns() - _REST_NS - self._schedule.measure_ns) // SECOND_NS
            self._tell(self._report_of(second))
        self._loop.stop()

    def _tell(self, what: Ready | Report) -> None:
        try:
            self._conductor.send(what)
        except OSError:
            self._loop.stop()

    # Publishers are granted before anything is sent.

    def _connect_publisher(self, due_ns: int, now_ns: int) -> int | None:
        connected = len(self._publishers)
        if connected == len(self._job.publishers):
            return None
        index = self._job.publishers[connected]
        url = self._plan.publisher_url(index)
        publisher = Publisher(self._common, Dialogue(Role.PUBLISHER, url, self._plan.chunk_size), index)
        self._publishers.append(publisher)
        publisher.connect()
        return now_ns + _CONNECT_EVERY_NS

    def _look_at_publishers(self, due_ns: int, now_ns: int) -> int | None:
        self._give_up_waiting(now_ns)
        granted = [publisher for publisher in self._publishers if publisher.granted]
        refused = sum(publisher.state is State.CLOSED for publisher in self._publishers)
        if len(granted) + refused < len(self._job.publishers):
            return now_ns + _LOOK_EVERY_NS
        for stream_id in {publisher.stream_id for publisher in granted}:
            self._script(stream_id)  # made before anything is due
        self._tell(Ready(len(granted), self._take_tally()))
        return None

    def _script(self, stream_id: int) -> Script:
        """The stream, encoded for a message stream: nearly always 1."""
        if stream_id not in self._scripts:
            size, file = self._plan.chunk_size, self._plan.file
            self._scripts[stream_id] = (
                synthetic_script(self._plan.shape, chunk_size=size, stream_id=stream_id)
                if file is None
                else file_script(file, chunk_size=size, stream_id=stream_id)
            )
        return self._scripts[stream_id]

    def _give_up_waiting(self, now_ns: int) -> None:
        before_ns = now_ns - round(self._plan.timeout_s * 1e9)
        for peer in self._peers():
            peer.give_up_waiting(before_ns)

    # The run.

    def _start(self, schedule: Schedule) -> None:
        self._schedule = schedule
        self._began_ns, self._cpu_ns = time.monotonic_ns(), time.process_time_ns()
        loop, plan = self._loop, self._plan
        for publisher in self._publishers:
            if publisher.granted:
                starts_ns = schedule.publisher_starts_ns(publisher.index, plan.publishers)
                publisher.begin(self._script(publisher.stream_id), starts_ns)
        ramp_ns = plan.ramp_s * 1e9
        for player in self._job.players:
            loop.call_at(schedule.join_ns + round(ramp_ns * player.joins_at), partial(self._join, player))
        by_timer = sum(map(self._by_timer, self._job.players))
        if by_timer:
            self._slices = -(-by_timer // _DRAINED_AT_ONCE)
            loop.call_at(schedule.join_ns, self._drain)
        loop.call_at(schedule.join_ns, self._pulse)
        since_ns = schedule.join_ns - schedule.measure_ns
        loop.call_at(schedule.measure_ns + (since_ns // SECOND_NS + 1) * SECOND_NS, self._report)

    def _by_timer(self, job: PlayerJob) -> bool:
        return job.role is Role.SLOW_PLAYER or (not job.sampled and self._plan.drain is Drain.TIMER)

    def _join(self, job: PlayerJob, due_ns: int, now_ns: int) -> None:
        assert self._schedule is not None
        plan = self._plan
        by_timer = self._by_timer(job)
        slow_bytes_per_s = plan.slow_bytes_per_s if job.role is Role.SLOW_PLAYER else 0
        media_starts_ns = None
        if plan.file is not None and plan.publishers:
            starts_ns = self._schedule.publisher_starts_ns(job.stream, plan.publishers)
            ahead_ns = self._script(1).ahead_ns
            media_starts_ns = {each: starts_ns - ahead_ns.get(each, 0) for each in MAGIC_AT}
        player = new_player(
            self._common, plan.player_url(job.stream), sampled=job.sampled, by_timer=by_timer,
            slow_bytes_per_s=slow_bytes_per_s, media_starts_ns=media_starts_ns,
            # A stream of ours is about to be there; one of others is, or is not.
            retry_until_ns=self._schedule.measure_ns if plan.publishers else 0,
        )  # fmt: skip
        self._players.append(player)
        if by_timer:
            self._plain.append(player)
        player.connect()

    def _drain(self, due_ns: int, now_ns: int) -> int:
        """Drain one slice of the plain players."""
        self._common.tally.late.record(now_ns - due_ns)
        for player in self._plain[self._slice :: self._slices]:
            player.drain(now_ns)
        self._slice = (self._slice + 1) % self._slices
        return max(due_ns + DRAIN_EVERY_NS // self._slices, now_ns)

    def _pulse(self, due_ns: int, now_ns: int) -> int:
        """Know how late this loop is even if little else is due."""
        self._common.tally.late.record(now_ns - due_ns)
        return now_ns + _LOOK_EVERY_NS

    # What is told.

    def _report(self, due_ns: int, now_ns: int) -> int:
        self._give_up_waiting(now_ns)
        for player in self._players:
            player.check(now_ns)
        assert self._schedule is not None
        second = (due_ns - self._schedule.measure_ns) // SECOND_NS - 1
        self._tell(self._report_of(second))
        return due_ns + SECOND_NS

    def _report_of(self, second: int) -> Report:
        standing = Standing()
        for publisher in self._publishers:
            standing.publishing += publisher.state is State.FLOWING
        for player in self._players:
            if player.state is not State.CLOSED:
                standing.joining += player.state is not State.FLOWING
                flowing = player.state is State.FLOWING
                standing.playing += flowing and player.role is Role.PLAYER
                standing.slow_playing += flowing and player.role is Role.SLOW_PLAYER
        to_come = len(self._job.players) - len(self._players)
        left = any(peer.state is not State.CLOSED for peer in self._peers())
        idle = not to_come and not left
        return Report(second, time.monotonic_ns(), self._take_tally(), standing, idle)

    def _take_tally(self) -> Tally:
        """The counts since the last time."""
        tally, self._common.tally = self._common.tally, Tally()
        now_ns, cpu_ns = time.monotonic_ns(), time.process_time_ns()
        tally.elapsed_ns, tally.cpu_ns = now_ns - self._began_ns, cpu_ns - self._cpu_ns
        self._began_ns, self._cpu_ns = now_ns, cpu_ns
        return tally
