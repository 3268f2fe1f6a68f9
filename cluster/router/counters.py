"""What one router counts: each number is declared here once, with what it means."""

from __future__ import annotations

#: By name. The Prometheus names follow from these (``metrics.py``).
COUNTERS = {
    "control_received": "Control messages received from workers.",
    "control_sent": "Control messages sent to workers.",
    "control_malformed": "Control messages received that could not be read.",
    "control_unreachable": "Control messages not sent because their worker had gone.",
    "control_overflowed": "Control messages not sent because the queue to their worker was full.",
}

#: Why a registry does not take something from a worker, as the log says it.
REFUSALS = {
    "epoch_ahead": "it announced an epoch more than a day ahead of this clock",
    "watch": "it watches too many streams",
    "origin": "it is the origin of too many streams",
    "answer_unasked": "it answered what it was not asked, or too late",
    "question": "it asks workers for too much at once",
    "snapshot_too_soon": "its snapshot is more than the worker that asked is sent in a second",
}


def refused(reason: str) -> str:
    """The name of what counts a refusal."""
    return f"refused_{reason}"
