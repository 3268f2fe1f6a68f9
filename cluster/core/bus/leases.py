"""Who is the origin of a stream key, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lease:
    """The worker ``owner`` is the origin of ``key``; a later origin of the key has a higher ``epoch``."""

    key: str
    owner: str
    epoch: int

    def beats(self, other: Lease) -> bool:
        """Whether this one stands, if two workers say that they are the origin of one key."""
        return (self.epoch, self.owner) > (other.epoch, other.owner)


@dataclass(frozen=True, slots=True)
class Holder:
    """Instead of the lease that was asked for: the one that another publisher has."""

    lease: Lease
