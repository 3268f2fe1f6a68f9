"""The fields of a result's JSON that stand for more than one number."""

from __future__ import annotations

from collections import Counter
from typing import Any

from cluster.core.rtmp.url import RtmpUrl
from cluster.load.generator import DRAIN_EVERY_NS
from cluster.load.histogram import Histogram
from cluster.load.http_url import HttpUrl
from cluster.load.job import LoadPlan
from cluster.load.player import STALL_NS
from cluster.load.tally import Role

NS_PER_MS = 1e6

_SHARES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}


def distribution(histogram: Histogram) -> dict[str, float | int | None]:
    """Nanoseconds as a dictionary of milliseconds: count, mean, percentiles, max."""
    found: dict[str, float | int | None] = {"count": histogram.count}
    found["mean"] = None if histogram.mean is None else histogram.mean / NS_PER_MS
    values = histogram.percentiles(_SHARES.values())
    for place, name in enumerate(_SHARES):
        found[name] = values[place] / NS_PER_MS if values else None
    found["max"] = histogram.maximum / NS_PER_MS if histogram.count else None
    return found


def rate(byte_count: int, elapsed_s: float) -> float:
    return byte_count * 8 / elapsed_s if elapsed_s else 0.0


def flow(byte_count: int, elapsed_s: float) -> dict[str, float]:
    return {"bytes": byte_count, "bits_per_s": rate(byte_count, elapsed_s)}


def by_role(counter: Counter[tuple[Role, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (role, reason), count in sorted(counter.items()):
        found.setdefault(str(role), {})[reason] = count
    return found


def without_key(url: RtmpUrl | HttpUrl) -> str:
    return str(url.without_queries())


def plan_fields(plan: LoadPlan) -> dict[str, Any]:
    return {
        "play_from": None if plan.play_from is None else without_key(plan.play_from),
        "publishers": plan.publishers,
        "players": plan.players,
        "duration_s": plan.duration_s,
        "ramp_s": plan.ramp_s,
        "settle_s": plan.settle_s,
        "bits_per_s": None if plan.file else plan.shape.bits_per_second,
        "frames_per_s": None if plan.file else plan.shape.frames_per_second,
        "gop_s": None if plan.file else plan.shape.gop_s,
        "file": None if plan.file is None else plan.file.name,
        "chunk_size": plan.chunk_size,
        "processes": plan.processes,
        "sample": plan.sample,
        "drain": str(plan.drain),
        "drain_every_ms": DRAIN_EVERY_NS / NS_PER_MS,
        "slow_share": plan.slow_share,
        "slow_rate": plan.slow_rate,
        "stall_s": STALL_NS / 1e9,
    }
