"""What an attack is: a function for processes of its own, the edge it wants, and what its row must show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .bounds import CROWD_P99_MS, MIB, Bounds, patient
from .wire import Tally, Target

if TYPE_CHECKING:
    from .rig import Scene
    from .rows import Row

_SHORT_BYTES, _FULL_BYTES = 64 * MIB, 128 * MIB


@dataclass(frozen=True, slots=True)
class Form:
    """How long a run is, and how much of its full amount an attack does; ``after_s`` at most.

    ``patience``: by what the bounds on times are multiplied. The short form runs on any machine, beside
    anything: it shows that nobody falls silent for seconds, the full one how smooth it is.
    """

    seconds: float
    before_s: float
    after_s: float
    share: float
    worker_bytes: int
    patience: float
    short: bool


SHORT = Form(2.0, 0.6, 3.5, 0.1, _SHORT_BYTES, patience=5.0, short=True)
FULL = Form(12.0, 2.0, 6.0, 1.0, _FULL_BYTES, patience=1.0, short=False)

#: The processes of the edge: one node alone; one whose standard error is a pipe that nobody reads from then
#: on; two nodes of one worker at a router without a key.
EdgeKind = Literal["node", "deaf", "routed"]


def _fine(_scene: Scene, _row: Row) -> Sequence[str]:
    return ()


@dataclass(frozen=True, slots=True)
class Attack:
    """``act`` runs in ``processes`` processes at once. ``row`` is its number in the table of attacks, "+"
    and a number for what is beyond it, "=" for honest peers.

    ``options`` are the edge's; ``wishes`` only those of them that this edge knows. ``judge`` adds to what
    the bounds say, with the edge still there and the attackers gone.
    """

    name: str
    row: str
    act: Callable[[Target], Tally]
    crowd: bool = False
    processes: int = 1
    sources: int = 1
    options: tuple[str, ...] = ()
    wishes: tuple[str, ...] = ()
    edge: EdgeKind = "node"
    #: The healthy players are in the other worker than their publishers.
    crosses: bool = False
    #: The healthy streams that count; the attack stops the others on purpose.
    judged: tuple[int, ...] = (0, 1)
    seconds: float | None = None
    short_seconds: float | None = None
    in_short: bool = True
    #: Honest peers that come sooner are not judged: until then the server cannot know.
    joins_after_s: float = 0.0
    adjust: Callable[[Bounds], Bounds] = lambda bounds: bounds
    judge: Callable[[Scene, Row], Sequence[str]] = _fine

    def bounds(self, form: Form) -> Bounds:
        bounds = Bounds(form.worker_bytes)
        if self.crowd:
            bounds = replace(bounds, p99_ms=CROWD_P99_MS)
        return patient(self.adjust(bounds), form.patience)

    def lasts_s(self, form: Form) -> float:
        own = self.short_seconds if form.short else self.seconds
        return own or form.seconds
