"""Conducts a run: starts the processes, keeps the schedule, watches the server, collects what they tell."""

from __future__ import annotations

import contextlib
import math
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.connection import Connection

from cluster.core.errors import ClusterError, EnvironmentFault
from cluster.core.rtmp.url import RtmpUrl
from cluster.load.generator import SECOND_NS, Ready
from cluster.load.http_url import HttpUrl
from cluster.load.job import SPARE_DESCRIPTORS, Job, LoadPlan, Schedule, ServerAddress, jobs
from cluster.load.media import file_script
from cluster.load.peer import CLOSED, NO_TLS, NOT_OURS, NOT_TRUSTED, RESET
from cluster.load.result import NOTHING_LEFT, LoadResult
from cluster.load.server_usage import ServerUsage
from cluster.load.tally import Report
from cluster.process.words import reason_of

#: For the first publisher's first message, after the last process has been told.
_HEAD_START_NS = 50_000_000
#: A stream is there before its players; and most keyframes stay clear of where seconds begin.
_STREAM_FIRST_NS = 500_000_000
#: How long after the end of a second all processes have reported it.
_REPORTS_NS = 100_000_000
#: A process that does not end by itself when told is ended.
_END_TIMEOUT_S = 5.0
#: Longest time without a look at whether to stop.
_LOOK_S = 0.1


class Unreachable(ClusterError):
    """No connection to the server, or no answer."""


class Refused(ClusterError):
    """The server lets nobody publish, or nobody play."""


def run_load(
    plan: LoadPlan, *,
    stop: Callable[[], bool] = lambda: False,
    watch: Callable[[LoadResult], None] = lambda result: None,
) -> LoadResult:  # fmt: skip
    """Put the load on the server. ``stop`` is asked often whether to end early; ``watch`` is shown the
    result as it grows, each second.

    Raises EnvironmentFault (this host: descriptors, the file, ``pids``), FlvError, Unreachable and Refused;
    once there is something to show, it returns that instead.
    """
    _allow_descriptors(plan)
    if plan.file is not None:
        file_script(plan.file, chunk_size=plan.chunk_size, stream_id=1)  # so that its errors come at once
    usage = ServerUsage(plan.pids) if plan.pids else None
    publish_to = _reach(plan.url, plan.timeout_s)
    play_from = publish_to if plan.play_from is None else _reach(plan.play_from, plan.timeout_s)
    with contextlib.closing(_Conductor(plan, usage, stop, watch)) as conductor:
        return conductor.run(jobs(plan, publish_to, play_from))


def _allow_descriptors(plan: LoadPlan) -> None:
    """Raise our limit for what each process needs, which they inherit."""
    needed = plan.descriptors_per_process
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < needed and (needed <= hard or hard == unlimited):
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    if hard != unlimited and hard < needed:
        fit = max(0, hard - SPARE_DESCRIPTORS) * plan.processes - plan.publishers
        enough = math.ceil((plan.publishers + plan.players) / max(1, hard - SPARE_DESCRIPTORS))
        raise EnvironmentFault(
            f"too few file descriptors: a process may open {hard} and needs {needed}. So "
            f"{max(0, fit)} players fit; use --processes {enough}, or raise the limit (ulimit -Hn {needed})"
        )


def _reach(url: RtmpUrl | HttpUrl, timeout_s: float) -> ServerAddress:
    """The server's first address that answers. Unreachable if none does."""
    try:
        with socket.create_connection((url.host, url.port), timeout=timeout_s) as probe:
            return ServerAddress(int(probe.family), probe.getpeername())
    except (OSError, UnicodeError) as error:
        where = f"{url.host}:{url.port}"
        raise Unreachable(f"cannot connect to {where}: {reason_of(error)}; is a server there?") from None


class _Process:
    """A generator process and the socket to it."""

    def __init__(self, job: Job) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            # A process group of its own: Ctrl-C is for us to pass on.
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cluster.load.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, process_group=0,
            )  # fmt: skip
            self.connection = Connection(ours.detach())
        self.tell(job)
        self.alive = True
        self.idle = False

    def tell(self, what: Job | Schedule | None) -> None:
        with contextlib.suppress(OSError):  # it is gone, which is seen when it is read from
            self.connection.send(what)

    def hear(self) -> Ready | Report | None:
        """What the process says next; None once it is gone."""
        try:
            heard: Ready | Report = self.connection.recv()
        except (EOFError, OSError):
            self.alive = False
            return None
        return heard

    def end(self) -> int:
        """Wait for the process to end; its exit code."""
        self.connection.close()
        try:
            return self._process.wait(_END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class _Conductor:
    def __init__(
        self, plan: LoadPlan, usage: ServerUsage | None, stop: Callable[[], bool],
        watch: Callable[[LoadResult], None],
    ) -> None:  # fmt: skip
        self._plan = plan
        self._usage = usage
        self._stop = stop
        self._watch = watch
        self._result = LoadResult(plan)
        self._processes: list[_Process] = []
        self._ready: dict[int, Ready] = {}
        self._told_to_stop = False
        self._finishing = False

    def close(self) -> None:
        for process in self._processes:
            process.end()

    def run(self, parts: list[Job]) -> LoadResult:
        self._processes = [_Process(job) for job in parts]
        result = self._result
        while not self._stopped() and len(self._ready) < sum(each.alive for each in self._processes):
            self._hear(_LOOK_S)
        for ready in self._ready.values():
            result.before.add(ready.tally)
        if not self._ready and not self._told_to_stop:
            raise EnvironmentFault("no generator process could begin; its error stands above")
        self._check_publishers()
        if not self._told_to_stop:
            self._conduct()
        return result

    def _check_publishers(self) -> None:
        granted = sum(ready.granted for ready in self._ready.values())
        if granted or not self._plan.publishers or self._told_to_stop:
            return
        (_, reason), _ = self._result.before.refused.most_common(1)[0]
        what = f"no publisher came to publish: {reason}"
        if reason.startswith((NOT_TRUSTED, NO_TLS)):
            raise Unreachable(what)
        if "did not answer" in reason:
            raise Unreachable(f"{what}; is it an RTMP server?")
        if reason.startswith(NOT_OURS) or reason in (CLOSED, RESET):
            secure = "" if self._plan.url.tls else " without TLS (with TLS: rtmps://)"
            raise Refused(f"{what}; is it a port for RTMP{secure}?")
        raise Refused(
            f"no publisher may publish {self._plan.publisher_url(0)}: {reason}; use another name or key, "
            "or --publishers 0 to play what is published there"
        )

    def _conduct(self) -> None:
        """Tell the schedule, and collect reports until it is over."""
        plan, result = self._plan, self._result
        schedule = self._schedule(time.monotonic_ns() + _HEAD_START_NS)
        result.measure_ns = schedule.measure_ns
        for process in self._processes:
            process.tell(schedule)
        end_ns = schedule.measure_ns + round(plan.duration_s * 1e9)
        boundary = (schedule.join_ns - schedule.measure_ns) // SECOND_NS + 1
        while True:
            due_ns = min(end_ns, schedule.measure_ns + boundary * SECOND_NS)
            self._hear_until(due_ns)
            if self._usage is not None:
                result.server[boundary] = self._usage.sample()
            if due_ns == end_ns or self._over():
                break
            self._hear_until(min(end_ns, due_ns + _REPORTS_NS))
            self._watch(result)
            boundary += 1
        if self._usage is not None:
            result.server_pss_bytes = self._usage.pss_bytes()
        self._finish()

    def _schedule(self, media_ns: int) -> Schedule:
        plan = self._plan
        # A player of a publisher that has not begun would wait: several begin spread over a group.
        spread_ns = plan.shape.period_ns if plan.publishers > 1 else 0
        join_ns = media_ns + spread_ns + _STREAM_FIRST_NS
        return Schedule(media_ns, spread_ns, join_ns, join_ns + round((plan.ramp_s + plan.settle_s) * 1e9))

    def _stopped(self) -> bool:
        if not self._told_to_stop and self._stop():
            self._told_to_stop = True
            self._result.ended_early = "it was interrupted"
        return self._told_to_stop

    def _over(self) -> bool:
        """Nothing is left to wait for."""
        if self._stopped():
            return True
        if all(process.idle or not process.alive for process in self._processes):
            self._result.ended_early = self._result.ended_early or NOTHING_LEFT
            return True
        return False

    def _hear_until(self, moment_ns: int) -> None:
        while (left_ns := moment_ns - time.monotonic_ns()) > 0 and not self._over():
            self._hear(min(left_ns / 1e9, _LOOK_S))

    def _hear(self, timeout_s: float) -> None:
        """Take in what the processes say, for ``timeout_s`` at most."""
        by_connection = {
            process.connection: (number, process)
            for number, process in enumerate(self._processes)
            if process.alive
        }
        for readable in connection.wait(list(by_connection), timeout_s):
            number, process = by_connection[readable]  # type: ignore[index]
            heard = process.hear()
            if isinstance(heard, Ready):
                self._ready[number] = heard
            elif isinstance(heard, Report):
                process.idle = heard.idle
                self._result.add(number, heard)
            elif not self._finishing:
                self._result.faults.append(f"generator process {number} has ended; its error stands above")
        if not by_connection:
            time.sleep(timeout_s)

    def _finish(self) -> None:
        """Have the processes report what is left, and end."""
        for process in self._processes:
            process.tell(None)
        self._finishing = True
        deadline = time.monotonic() + _END_TIMEOUT_S
        while any(process.alive for process in self._processes) and time.monotonic() < deadline:
            self._hear(_LOOK_S)
