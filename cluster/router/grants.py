"""What a registry stores: which worker is the origin of which stream key, and in which epoch.

It may lie in this process or behind a network, so nothing here returns an answer. A question comes with a
callback, ``answered``, which is called once: before the question returns, or later from ``settle``. Whoever
answers later says so with ``wake``, from any thread; then the thread that asks calls ``settle``. So
callbacks run in that one thread, and it never waits.

At most MAX_PENDING_CLAIMS claims of a registry wait for an answer. It forgets one after GRANT_TIMEOUT_S,
and gives back a lease that comes later.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from cluster.core.bus.leases import Holder, Lease

#: Called with the lease that was asked for, or with the holder that has the key instead.
Answered: TypeAlias = Callable[[Lease | Holder], None]
#: Called with a key, and the lease of it that stands now, if any.
OnChange: TypeAlias = Callable[[str, Lease | None], None]


class Grants(Protocol):
    """The leases of all stream keys. All but ``wake`` belongs to one thread."""

    def watch(self, on_change: OnChange, wake: Callable[[], None]) -> None:
        """Call ``on_change`` whenever another lease of a key stands, before the answer that tells of it."""

    def claim(
        self, key: str, worker_id: str, wall_ms: int, answered: Answered, *, replace: Lease | None = None
    ) -> None:
        """A new lease of ``key`` for ``worker_id``, if nobody has the key, or if ``replace`` still stands,
        whose owner yields. Its epoch is higher than any of the key before, and at least ``wall_ms``."""

    def adopt(self, lease: Lease, answered: Answered) -> None:
        """The owner of ``lease`` says that it has it: it stands, unless the lease that stands beats it.

        A later one of the same key and owner takes the place of one that is not answered yet.
        """

    def release(self, lease: Lease) -> None:
        """``lease`` has ended; nothing happens if it does not stand."""

    def renew(self, worker_id: str) -> None:
        """The worker lives, and so do its leases; called at each heartbeat of the worker."""

    def settle(self) -> None:
        """Call back with what has been answered, and has changed, since."""
