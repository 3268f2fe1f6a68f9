"""What a worker takes from the bus: watched streams, each at the router its key belongs to.

When a router dies or returns, subscriptions move: to the new router first, and away from the old one
a little later, so that nothing is missed; what comes twice has the same sequence numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cluster.core.bus import control, placement
from cluster.core.bus.bounds import CONFIRM_TIMEOUT_S, OVERLAP_S
from cluster.core.bus.envelope import topic
from cluster.edge.link_interfaces import LinkHandler
from cluster.edge.link_peer import RouterPeer


@dataclass(slots=True)
class _Watch:
    """One watched key.

    ``home``: the router subscribed at, None while the stream is published here. ``leaving``: the one
    before, until ``leave_at``. ``source``: the (epoch, origin) the worker was told of.
    ``unconfirmed_since``: the home was asked and has not named a source yet.
    """

    topic: bytes
    home: RouterPeer | None = None
    leaving: RouterPeer | None = None
    leave_at: float = 0.0
    source: tuple[int, str] | None = None
    unconfirmed_since: float | None = None


class LinkWatches:
    """The watched keys and where each is subscribed to. ``origins``: the keys published here."""

    def __init__(
        self, handler: LinkHandler, peers: Mapping[str, RouterPeer], origins: Mapping[str, int]
    ) -> None:
        self._handler = handler
        self._peers = peers
        self._origins = origins
        self._watches: dict[str, _Watch] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._watches

    def add(self, key: str, now: float) -> None:
        """Watch and subscribe, unless the stream is published here: then once it no longer is."""
        if key not in self._watches:
            self._watches[key] = _Watch(topic(key))
            self._place(key, now)

    def discard(self, key: str) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            self._leave_all(key, watch)

    def origin_changed(self, key: str, now: float) -> None:
        """``key`` is published here from now on, or no longer."""
        watch = self._watches.get(key)
        if watch is None:
            return
        if key in self._origins:
            watch.source = None
            self._leave_all(key, watch)
        else:
            self._place(key, now)

    def home(self, key: str) -> RouterPeer | None:
        """The router that ``key`` is subscribed to at."""
        watch = self._watches.get(key)
        return watch.home if watch is not None else None

    def keys_at(self, peer: RouterPeer) -> list[str]:
        """The keys that are watched at ``peer``."""
        return [key for key, watch in self._watches.items() if peer in (watch.home, watch.leaving)]

    # ---- routers come and go ---------------------------------------------------------------------

    def place_all(self, now: float) -> None:
        """The set of live routers has changed."""
        for key in self._watches:
            self._place(key, now)

    def removed(self, peer: RouterPeer, now: float) -> None:
        """``peer`` is no longer one of the routers."""
        for key, watch in self._watches.items():
            if watch.leaving is peer:
                watch.leaving = None
            if watch.home is peer:
                watch.home = None
                self._place(key, now)

    def welcomed(self, peer: RouterPeer, now: float) -> None:
        """``peer`` was told everything (again): what it does not confirm in time has ended."""
        for watch in self._watches.values():
            if watch.home is peer:
                watch.unconfirmed_since = now

    def tick(self, now: float) -> None:
        """End overlaps, and streams that no router knows."""
        for key, watch in list(self._watches.items()):
            if watch.leaving is not None and now >= watch.leave_at:
                self._leave(key, watch)
            since = watch.unconfirmed_since
            if since is None or watch.home is None:
                continue
            if not watch.home.is_live:
                watch.unconfirmed_since = None  # nobody can be asked; its Welcome starts this again
            elif now - since > CONFIRM_TIMEOUT_S:
                watch.unconfirmed_since = None
                self._end(key, watch)

    # ---- what routers say ------------------------------------------------------------------------

    def is_news(self, peer: RouterPeer, message: control.StreamUp) -> bool:
        """True if the worker is to be told: several routers say the same, and some say less."""
        watch = self._watches.get(message.key)
        if watch is None or watch.home is None:
            return False
        source = (message.epoch, message.origin)
        if watch.source is not None and source < watch.source:
            return False
        if peer is watch.home:
            watch.unconfirmed_since = None
        if source == watch.source:
            return False
        watch.source = source
        return True

    def stream_down(self, peer: RouterPeer, message: control.StreamDown) -> bool:
        """True if the worker was told. The home decides: another router may know less."""
        watch = self._watches.get(message.key)
        if watch is None or peer is not watch.home or watch.source is None:
            return False
        if message.epoch < watch.source[0]:
            return False
        self._end(message.key, watch)
        return True

    def _end(self, key: str, watch: _Watch) -> None:
        if watch.source is not None:
            epoch, _ = watch.source
            watch.source = None
            self._handler.stream_down(key, epoch)

    # ---- where it is subscribed ------------------------------------------------------------------

    def _place(self, key: str, now: float) -> None:
        if key in self._origins:
            return
        watch = self._watches[key]
        target = self._target(key, watch)
        if target is None or target is watch.home:
            return
        old = watch.home
        if watch.leaving is target:
            watch.leaving = None  # back again within the overlap: it is still subscribed there
        else:
            self._leave(key, watch)
            target.subscribe(watch.topic)
        target.send(control.Watch(key))
        watch.home = target
        watch.unconfirmed_since = now
        watch.leaving, watch.leave_at = old, now + OVERLAP_S
        if old is not None and not old.is_live:
            self._leave(key, watch)

    def _target(self, key: str, watch: _Watch) -> RouterPeer | None:
        """The first live router; with none alive the present one, or the one that should come first."""
        live: Iterable[str] = [name for name, peer in self._peers.items() if peer.is_live]
        if not live and watch.home is not None:
            return watch.home
        name = placement.first(key, live or self._peers)
        return self._peers[name] if name is not None else None

    def _leave(self, key: str, watch: _Watch) -> None:
        if watch.leaving is not None:
            watch.leaving.unsubscribe(watch.topic)
            watch.leaving.send(control.Unwatch(key))
            watch.leaving = None

    def _leave_all(self, key: str, watch: _Watch) -> None:
        self._leave(key, watch)
        watch.leaving, watch.home = watch.home, None
        watch.unconfirmed_since = None
        self._leave(key, watch)
