"""What the operator decides about the streams of a worker."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.core.media.stream_log import LogLimits
from cluster.edge.streams.owner import SlowRule


@dataclass(frozen=True, slots=True)
class YieldRule:
    """When a publisher gives its stream up to another that wants it: ``always``, or if it has been silent
    for ``silent_s``."""

    silent_s: float
    always: bool


@dataclass(frozen=True, slots=True)
class StreamRules:
    """``publish_grace_s``: how long readers are kept after the publisher left. ``play_wait_s``: how long a
    reader waits for one that has never been. ``audio_hold_s``: how long audio may wait for the next frame.
    ``worker_bytes``: memory that the streams of the worker may take together. ``segment_s``: how long a
    segment is at least (``core/media/marks.py``)."""

    log: LogLimits
    slow: SlowRule
    contest: YieldRule
    publish_grace_s: float
    play_wait_s: float
    audio_hold_s: float
    worker_bytes: int
    segment_s: float
