"""What rules need of others: somebody to ask, and keys of tokens that stand elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from cluster.core.errors import ClusterError
from cluster.edge.peers.access import Access, Verdict

if TYPE_CHECKING:
    from jwt import PyJWK

#: Where something is in the tables of the configuration: names of tables and keys, indices of lists.
Path: TypeAlias = tuple[str | int, ...]


class PolicyFaults(ClusterError):
    """What is wrong in the tables, all in one go. The texts repeat no secret."""

    def __init__(self, faults: Iterable[tuple[Path, str]]) -> None:
        self.faults = list(faults)
        super().__init__("; ".join(text for _, text in self.faults))


class Asker(Protocol):
    """Asks the operator's own program."""

    def ask(
        self, access: Access, *, user: str, fail_open: bool, cache_s: float
    ) -> Awaitable[Verdict]:
        """Its answer; it raises nothing.

        ``user``: who has already been proven to ask, "" if nobody has. ``fail_open``: let in when no answer
        can be had. ``cache_s``: for how long the answer counts for the same credentials, key, action,
        protocol and address.
        """

    async def close(self) -> None:
        """Ask nobody any more."""


class KeysUnavailable(ClusterError):
    """The keys have never been fetched, and cannot be now. The text is for the log."""


class Keys(Protocol):
    """The public keys that tokens are checked with, by their names (``kid``)."""

    async def key(self, kid: str) -> PyJWK | None:
        """The key; None if there is none of this name. "" is for a token that names none: the key, if there
        is only one. KeysUnavailable if there are no keys to look in."""

    async def close(self) -> None:
        """Fetch nothing any more."""
