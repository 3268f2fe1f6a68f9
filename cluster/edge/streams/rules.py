"""What the operator decides about the streams of a worker."""

from __future__ import annotations

from dataclasses import dataclass

from cluster.core.media.stream_log import LogLimits
from cluster.edge.streams.owner import SlowRule


@dataclass(frozen=True, slots=True)
class StreamRules:
    """``publish_grace_s``: how long readers are kept after the publisher left. ``play_wait_s``: how long a
    reader waits for one that has never been. ``publisher_timeout_s``: a publisher silent for that long
    yields to another. ``audio_hold_s``: how long audio may wait for the next frame. ``replaces``: any
    publisher yields to a later one. ``worker_bytes``: memory that the streams of the worker may take
    together. ``segment_s``: how long a segment is at least (``core/media/marks.py``)."""

    log: LogLimits
    slow: SlowRule
    publish_grace_s: float
    play_wait_s: float
    publisher_timeout_s: float
    audio_hold_s: float
    replaces: bool
    worker_bytes: int
    segment_s: float
