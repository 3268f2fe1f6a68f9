"""What a worker takes from the bus: watched streams, each at the router its key belongs to.

A router tells of the origin of a watched stream; only then is it subscribed to, so a key that is waited for
costs a watch and no more. When a router dies or returns, subscriptions move: to the new router first, and
away from the old one a little later, so that nothing is missed; what comes twice has the same sequence
numbers.

Every key is watched at the node's own router besides. If that names the source of a stream, a worker of
this node publishes it: then it is played from there, and no other host or router has a part in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cluster.core.bus import control, placement
from cluster.core.bus.bounds import CONFIRM_TIMEOUT_S, OVERLAP_S
from cluster.core.bus.envelope import topic
from cluster.core.bus.watch_budget import WatchBudget
from cluster.edge.link.interfaces import LinkHandler
from cluster.edge.link.peer import RouterPeer
from cluster.edge.link.routers import LinkRouters
from cluster.edge.link.watch_states import WATCH, WatchInput, WatchState


@dataclass(slots=True)
class _Watch:
    """One watched key; ``state`` is where it is subscribed, as in ``watch_states``.

    ``home``: the router of the cluster that it belongs to, None as long as there is none.
    ``subscribed``: the home, unless the own router has the stream. ``leaving``: where it was subscribed
    before, until ``leave_at``. ``source``: the (epoch, origin) the worker was told of; ``own_source``:
    what the own router says; ``own_ended``: what has ended by its word, though others may not know yet.
    ``unconfirmed_since``: the feed was asked and has not named a source yet.
    """

    state: WatchState = WatchState.OFF
    home: RouterPeer | None = None
    subscribed: RouterPeer | None = None
    leaving: RouterPeer | None = None
    leave_at: float = 0.0
    source: tuple[int, str] | None = None
    own_source: tuple[int, str] | None = None
    own_ended: tuple[int, str] | None = None
    unconfirmed_since: float | None = None


class LinkWatches:
    """The watched keys and where each is subscribed to. ``origins``: the keys published here."""

    def __init__(self, handler: LinkHandler, routers: LinkRouters, origins: Mapping[str, int]) -> None:
        self._handler = handler
        self._routers = routers
        self._origins = origins
        self._watches: dict[str, _Watch] = {}
        self._budget = WatchBudget()
        #: Keys with an overlap that ends, or a stream that is to be confirmed: all that time changes.
        self._pending: set[str] = set()

    def __contains__(self, key: str) -> bool:
        return key in self._watches

    def add(self, key: str, now: float) -> bool:
        """Watch; a stream that is published here, once it no longer is. False if there is no room."""
        if key not in self._watches:
            if not self._budget.take(key):
                return False
            watch = self._watches[key] = _Watch()
            if key not in self._origins:
                self._enter(key, watch, now)
        return True

    def discard(self, key: str) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            self._budget.give_back(key)
            self._pending.discard(key)
            self._leave_all(key, watch)

    def origin_changed(self, key: str, now: float) -> None:
        """``key`` is published here from now on, or no longer."""
        watch = self._watches.get(key)
        if watch is None:
            return
        if key not in self._origins:
            self._enter(key, watch, now)
        else:
            self._leave_all(key, watch)

    def feed(self, key: str) -> RouterPeer | None:
        """The router that ``key`` is played from, and that says when it has ended."""
        watch = self._watches.get(key)
        return self._feed(watch) if watch is not None else None

    def keys_at(self, peer: RouterPeer) -> list[str]:
        """The keys that are watched at ``peer``."""
        if peer is self._routers.own:
            return [key for key, watch in self._watches.items() if watch.state is not WatchState.OFF]
        return [key for key, watch in self._watches.items() if peer in (watch.home, watch.leaving)]

    # ---- routers come and go ---------------------------------------------------------------------

    def place_all(self, now: float) -> None:
        """The set of live routers has changed."""
        for key in self._watches:
            self._place(key, now)

    def lost(self, peer: RouterPeer, now: float) -> None:
        """``peer`` does not answer any more."""
        if peer is self._routers.own:
            for watch in self._watches.values():
                watch.own_source = watch.own_ended = None
        self.place_all(now)

    def removed(self, peer: RouterPeer, now: float) -> None:
        """``peer`` is no longer one of the routers."""
        for key, watch in self._watches.items():
            if watch.leaving is peer and _move(watch, WatchInput.LEFT_REMOVED):
                watch.leaving = None
            if watch.home is peer and _move(watch, WatchInput.HOME_REMOVED):
                watch.home = watch.subscribed = None
                self._place(key, now)

    def welcomed(self, peer: RouterPeer, now: float) -> None:
        """``peer`` was told everything (again): what it does not confirm in time has ended."""
        for key, watch in self._watches.items():
            if watch.source is not None and self._feed(watch) is peer:
                watch.unconfirmed_since = now
                self._pending.add(key)

    def tick(self, now: float) -> None:
        """End overlaps, and streams that no router knows; a key that is only waited for costs nothing."""
        for key in list(self._pending):
            watch = self._watches.get(key)
            if watch is None:
                continue  # the end of another one was the end of this
            if watch.leaving is not None and now >= watch.leave_at:
                self._end_overlap(key, watch)
            since, feed = watch.unconfirmed_since, self._feed(watch)
            if since is not None and feed is not None:
                if not feed.is_live:
                    watch.unconfirmed_since = None  # nobody can be asked; its Welcome starts this again
                elif now - since > CONFIRM_TIMEOUT_S:
                    watch.unconfirmed_since = None
                    self._end(key, watch)
                    self._place(key, now)
            if watch.leaving is None and watch.unconfirmed_since is None:
                self._pending.discard(key)

    # ---- what routers say ------------------------------------------------------------------------

    def stream_up(self, peer: RouterPeer, message: control.StreamUp, now: float) -> bool:
        """True if the worker is to be told: several routers say the same, and some say less."""
        key = message.key
        watch = self._watches.get(key)
        if watch is None or watch.state is WatchState.OFF:
            return False
        source = (message.epoch, message.origin)
        if peer is self._routers.own:
            watch.own_source, watch.own_ended = source, None
        elif source == watch.own_ended:
            return False
        if watch.source is not None and source < watch.source:
            return False
        is_news = source != watch.source
        watch.source = source
        if _move(watch, WatchInput.NAMED) and self._routers.own is not None:
            # For as long as it is watched: nothing comes from there but what is here.
            self._routers.own.subscribe(topic(key))
        self._place(key, now)
        if peer is self._feed(watch):
            watch.unconfirmed_since = None
        return is_news

    def stream_down(self, peer: RouterPeer, message: control.StreamDown, now: float) -> bool:
        """True if the worker was told. The feed decides: another router may know less."""
        key, epoch = message.key, message.epoch
        watch = self._watches.get(key)
        if watch is None or watch.state is WatchState.OFF:
            return False
        feed = self._feed(watch)
        if peer is self._routers.own and watch.own_source is not None and epoch >= watch.own_source[0]:
            watch.own_source, watch.own_ended = None, watch.own_source
        has_ended = peer is feed and watch.source is not None and epoch >= watch.source[0]
        if has_ended:
            self._end(key, watch)
        self._place(key, now)
        return has_ended

    def _end(self, key: str, watch: _Watch) -> None:
        if watch.source is not None:
            epoch, _ = watch.source
            watch.source = None
            self._handler.stream_down(key, epoch)

    # ---- where it is subscribed ------------------------------------------------------------------

    def _feed(self, watch: _Watch) -> RouterPeer | None:
        own = self._routers.live_own()
        is_here = own is not None and watch.source is not None and watch.source == watch.own_source
        return own if is_here else watch.home

    def _enter(self, key: str, watch: _Watch, now: float) -> None:
        """At the own router too, whatever the home is."""
        if not _move(watch, WatchInput.START):
            return
        if self._routers.own is not None:
            self._routers.own.send(control.Watch(key))
        self._place(key, now)

    def _place(self, key: str, now: float) -> None:
        """At the home that the key has now, and subscribed there unless it is waited for, or here."""
        watch = self._watches[key]
        home = self._home(key, watch)
        if watch.state is WatchState.OFF or home is None:
            return
        before, watch.home = watch.home, home
        if before is not None and before not in (home, watch.subscribed, watch.leaving):
            before.send(control.Unwatch(key))
        if watch.state is WatchState.WAITING:
            if before is not home:
                home.send(control.Watch(key))
        elif self._feed(watch) is not home:
            if before is not home:
                home.send(control.Watch(key))
            if _move(watch, WatchInput.OWN_HAS_IT):
                self._leave(key, watch)
                self._begin_to_leave(key, watch, None, now)
        elif watch.subscribed is not home:
            if watch.leaving is home and _move(watch, WatchInput.BACK):
                watch.leaving = None
            elif _move(watch, WatchInput.NEW_HOME):
                self._leave(key, watch)
                home.subscribe(topic(key))
            home.send(control.Watch(key))
            watch.unconfirmed_since = now
            self._pending.add(key)
            self._begin_to_leave(key, watch, home, now)

    def _home(self, key: str, watch: _Watch) -> RouterPeer | None:
        """The first live router; with none alive the present one, or the one that should come first."""
        home = self._routers.first(key) or watch.home
        if home is None:
            name = placement.first(key, self._routers.cluster)
            home = None if name is None else self._routers.cluster[name]
        return home

    def _begin_to_leave(self, key: str, watch: _Watch, other: RouterPeer | None, now: float) -> None:
        """From now on it is subscribed at ``other``, and for a while where it was as well."""
        watch.leaving, watch.subscribed, watch.leave_at = watch.subscribed, other, now + OVERLAP_S
        self._pending.add(key)
        if watch.leaving is not None and not watch.leaving.is_live:
            self._end_overlap(key, watch)

    def _end_overlap(self, key: str, watch: _Watch) -> None:
        if _move(watch, WatchInput.OVERLAP_OVER):
            self._leave(key, watch)

    def _leave(self, key: str, watch: _Watch) -> None:
        left, watch.leaving = watch.leaving, None
        if left is not None:
            left.unsubscribe(topic(key))
            if left is not watch.home:
                left.send(control.Unwatch(key))

    def _leave_all(self, key: str, watch: _Watch) -> None:
        """The worker publishes the stream itself, or plays it no more."""
        own = None if watch.state is WatchState.WAITING else self._routers.own
        if not _move(watch, WatchInput.STOP):
            return
        for peer in (watch.subscribed, watch.leaving, own):
            if peer is not None:
                peer.unsubscribe(topic(key))
        for peer in dict.fromkeys((watch.home, watch.leaving, self._routers.own)):
            if peer is not None:
                peer.send(control.Unwatch(key))
        watch.home = watch.subscribed = watch.leaving = None
        watch.source = watch.own_source = watch.own_ended = watch.unconfirmed_since = None


def _move(watch: _Watch, what: WatchInput) -> bool:
    """The state is what the table says of ``what``; False if it is ignored."""
    after = WATCH.get((watch.state, what))
    if after is None:
        return False
    watch.state = after
    return True
