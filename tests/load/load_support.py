"""Plans and results that no server was needed for."""

from __future__ import annotations

from typing import Any

from cluster.core.rtmp.url import RtmpUrl
from cluster.load.job import LoadPlan
from cluster.load.result import LoadResult
from cluster.load.server_usage import ServerSample
from cluster.load.tally import Report, Standing, Tally

URL = "rtmp://media.example/live/show"
SECOND_NS = 1_000_000_000
MS = 1_000_000


def plan(**options: Any) -> LoadPlan:
    options = {"players": 20, "duration_s": 3.0, "settle_s": 1.0, **options}
    return LoadPlan(**{"url": RtmpUrl.parse(URL), **options})


def report(second: int, *, delay_ms: float = 2, **fields: Any) -> Report:
    """A second in which a process published one stream to ten players."""
    tally = Tally(sent_bytes=1000, sent_messages=10, received_bytes=10_000, frames=10)
    tally.elapsed_ns, tally.cpu_ns = SECOND_NS, SECOND_NS // 10
    tally.late.record(MS // 10)
    for each in range(10):
        medium = tally.audio_delay if each % 5 else tally.video_delay
        medium.record(round(delay_ms * MS) + each)
    for name, value in fields.items():
        setattr(tally, name, value)
    return Report(second, (second + 1) * SECOND_NS, tally, Standing(publishing=1, playing=10), idle=False)


def result(**options: Any) -> LoadResult:
    """Two processes, one second before the window and three in it, and the server beside them."""
    made = LoadResult(plan(processes=2, publishers=2, **options))
    for second in range(-1, 4):
        made.server[second] = ServerSample(second * SECOND_NS, 0.5 * (second + 1), 50 << 20, 2)
    for second in range(-1, 3):
        for process in range(2):
            made.add(process, report(second))
    made.seconds[-1].tally.join.record(7 * MS)
    made.seconds[-1].tally.picture.record(9 * MS)
    made.server_pss_bytes = 40 << 20
    return made
