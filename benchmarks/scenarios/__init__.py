"""All scenarios, in the order in which they are measured and shown."""

from __future__ import annotations

from benchmarks.model import Scenario
from benchmarks.scenarios import comparison, http_players, memory, players, scaling

SCENARIOS: tuple[Scenario, ...] = (
    comparison.play(300, closely=True), comparison.play(1000, closely=False),
    comparison.many("many-streams", 100, 10, aim=0.85, at_budget={}),
    comparison.many("cameras", 150, 1, aim=1.5, at_budget={20: 1.0}),
    comparison.publish(200), comparison.publish(200, chunk_size=128),
    comparison.many_with_tls(100, 10),
    http_players.HTTP_PLAYERS,
    scaling.CAPACITY, scaling.BUS,
    memory.IDLE_PLAYERS, players.JOIN, players.SLOW, memory.SOAK,
)  # fmt: skip
