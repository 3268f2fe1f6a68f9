"""All scenarios, in the order in which they are measured and shown."""

from __future__ import annotations

from benchmarks.model import Scenario
from benchmarks.scenarios import comparison, memory, players, scaling

SCENARIOS: tuple[Scenario, ...] = (
    comparison.play(300), comparison.play(1000),
    comparison.publish(200), comparison.publish(200, chunk_size=128),
    scaling.TWO_WORKERS, scaling.BUS,
    memory.IDLE_PLAYERS, players.JOIN, players.SLOW, memory.SOAK,
)  # fmt: skip
