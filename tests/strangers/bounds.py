"""What an attack may cost: the bounds that make a row pass or fail."""

from __future__ import annotations

from dataclasses import dataclass, replace

MIB = 1 << 20

#: Healthy delay, 99 of 100 frames, under what a single peer does, and under what fifty do.
SINGLE_PEER_P99_MS = 20.0
CROWD_P99_MS = 50.0
#: The healthy streams are well again once the frames of so many seconds all stay below this.
WELL_MS = 20.0
WELL_FOR_S = 0.5
#: Worker memory is bounded by what it was, and the budget, and this share of both on top.
MEMORY_SLACK = 0.2
#: The program stops an attack that makes a process grow beyond this.
TOO_LARGE_BYTES = 3 << 30


@dataclass(frozen=True, slots=True)
class Bounds:
    """``worker_bytes``: the budget of a worker, as ``--worker-bytes`` is given to an edge that has it.

    A bound of None does not hold for this row. What the machine itself is late, as a relay
    tells or the same edge before the attack, comes on top of the times.
    """

    worker_bytes: int
    p99_ms: float | None = SINGLE_PEER_P99_MS
    router_growth_bytes: int = 128 * MIB
    silence_s: float | None = 1.0
    recover_s: float | None = 3.0
    join_s: float | None = 1.0
    #: Bytes of log a second: ten lines of 200 bytes for each of some reasons and networks.
    log_bytes_per_s: float = 64 * 1024
    #: Of a core, for peers that only hold what they have, beyond what the busiest worker used before.
    held_cpu: float | None = None

    #: "Well again" means that all frames come within so long.
    well_ms: float = WELL_MS

    def worker_ceiling(self, base: int) -> float:
        return (base + self.worker_bytes) * (1 + MEMORY_SLACK)


def patient(bounds: Bounds, times: float) -> Bounds:
    """``bounds`` with the times for healthy and honest peers multiplied by ``times``."""

    def more(limit: float | None) -> float | None:
        return None if limit is None else limit * times

    return replace(
        bounds, p99_ms=more(bounds.p99_ms), silence_s=more(bounds.silence_s), join_s=more(bounds.join_s),
        recover_s=more(bounds.recover_s), well_ms=bounds.well_ms * times,
    )  # fmt: skip
