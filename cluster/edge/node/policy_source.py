"""Where a node's policy comes from: what its configuration says, now and when it is read again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: What is said of a node without a policy.
OPEN_TO_ALL = "open to all: whoever reaches it may publish and play"


@dataclass(frozen=True, slots=True)
class PolicyFound:
    """What the configuration says, read and without faults.

    ``tables``: as ``NodeShared.policy`` has them; none if nobody has said who may do what. ``opens``: what
    is open to all nevertheless, a sentence each. ``unlike``: the options that differ from those that the
    node runs with.
    """

    tables: dict[str, Any] = field(default_factory=dict, repr=False)
    opens: Sequence[str] = ()
    unlike: Sequence[str] = ()
    #: There are rules, or a key to publish.
    restricts: bool = False

    @property
    def openness(self) -> str:
        """Who may do what without showing anything, for the log."""
        if not self.restricts:
            return OPEN_TO_ALL
        return "; ".join(self.opens) or "rules say who may publish and play"


#: Reads the configuration once more. ClusterError if something is wrong with it.
Reread: TypeAlias = Callable[[], PolicyFound]


@dataclass(frozen=True, slots=True)
class PolicySource:
    """``found`` is what the node starts with; ``reread`` is None if it has no file that could change.
    ``in_force`` is told of each policy that the node goes by from then on."""

    found: PolicyFound = field(default_factory=PolicyFound)
    reread: Reread | None = None
    in_force: Callable[[PolicyFound], None] = lambda found: None
