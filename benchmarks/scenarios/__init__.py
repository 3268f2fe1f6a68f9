"""All scenarios, in the order in which they are measured and shown."""

from __future__ import annotations

from benchmarks.model import Scenario
from benchmarks.scenarios import comparison, memory, players, scaling

SCENARIOS: tuple[Scenario, ...] = (
    comparison.play(300), comparison.play(1000),
    comparison.publish(200), comparison.publish(200, chunk_size=128),
    comparison.many("many-streams", 100, 10, {comparison.DEFAULT_EDGE: 0.85}),
    comparison.many(
        "cameras", 150, 1, {comparison.DEFAULT_EDGE: 1.5, comparison.edge_name(20): 1.0}
    ),
    scaling.TWO_WORKERS, scaling.BUS,
    memory.IDLE_PLAYERS, players.JOIN, players.SLOW, memory.SOAK,
)  # fmt: skip
