"""How much one stream key, one app and one publisher may take: ``[[limit]]`` of the configuration file.

The first table that matches and names a limit says it. Limits hold for all workers of a node together, and
may change at any time, for what comes next.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.core.errors import CloseReason
from cluster.edge.peers.shared_counts import SharedCounts
from cluster.edge.streams.events import StreamEvents
from cluster.edge.streams.interfaces import Publisher
from cluster.edge.streams.reader import Reader
from cluster.edge.streams.room import NoRoom
from cluster.edge.streams.streams import Streams

#: What a publisher may send is counted over so long, so that a keyframe is not taken for more.
BITRATE_WINDOW_S = 10

_MOST = 2**53
_NUMBERS = ("players", "publishers", "bitrate")


class LimitFaults(ValueError):
    """What is wrong with ``[[limit]]``: where, as a path of names and numbers from 0, and what."""

    def __init__(self, faults: list[tuple[tuple[str | int, ...], str]]) -> None:
        super().__init__("; ".join(text for _, text in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class KeyLimit:
    """One table. ``match``: a glob on the stream key, of ``publishers`` on the app. ``players`` of one key,
    ``publishers`` of one app, ``bitrate`` of one publisher in bytes a second; None says nothing of it."""

    match: str
    players: int | None = None
    publishers: int | None = None
    bitrate: int | None = None
    matches: Callable[[str], object] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matches", _glob(self.match))


def parse_limits(tables: object) -> tuple[KeyLimit, ...]:
    """``tables`` as they stand in the file; LimitFaults, with all that is wrong."""
    if not isinstance(tables, list):
        raise LimitFaults([(("limit",), "limit is written [[limit]], once for each")])
    faults: list[tuple[tuple[str | int, ...], str]] = []
    limits = [_parse(table, ("limit", number), faults) for number, table in enumerate(tables)]
    if faults:
        raise LimitFaults(faults)
    return tuple(limit for limit in limits if limit is not None)


def _parse(
    table: object, place: tuple[str | int, ...], faults: list[tuple[tuple[str | int, ...], str]]
) -> KeyLimit | None:
    import difflib

    before = len(faults)
    if not isinstance(table, Mapping):
        faults.append((place, "a limit is a table: [[limit]]"))
        return None
    for name in table:
        if name != "match" and name not in _NUMBERS:
            near = difflib.get_close_matches(str(name), ("match", *_NUMBERS), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"a limit has match, {', '.join(_NUMBERS)}"
            faults.append(((*place, str(name)), f"unknown key {name!r} in [[limit]]: {hint}"))
    match = table.get("match")
    if not isinstance(match, str) or not match:
        faults.append(((*place, "match"), 'match is missing, or no text such as "live/*"'))
    numbers: dict[str, Any] = {name: table[name] for name in _NUMBERS if name in table}
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= _MOST:
            text = f"{name} is a whole number from 1 on; leave it out for any number"
            faults.append(((*place, name), text))
    if not numbers and len(faults) == before:
        faults.append((place, f"a limit names at least one of {', '.join(_NUMBERS)}"))
    if len(faults) > before or not isinstance(match, str):
        return None
    return KeyLimit(match.strip("/"), **numbers)


def _glob(pattern: str) -> Callable[[str], object]:
    """``*`` stands for any characters, also slashes, all else for itself. No star is tried twice."""
    first, *rest = map(re.escape, pattern.split("*"))
    if rest:
        first += "".join(f"(?>.*?{part})" for part in rest[:-1]) + f".*{rest[-1]}"
    return re.compile(first, re.DOTALL).fullmatch


class KeyLimits(StreamEvents):
    """Knows how many play each key and publish in each app, as far as a limit needs it.

    ``counts``: where the workers of the node count together; None if there are no others.
    """

    def __init__(
        self, streams: Streams, limits: Iterable[KeyLimit] = (), counts: SharedCounts | None = None
    ) -> None:
        self._streams = streams
        self._counts = counts
        self._limits: tuple[KeyLimit, ...] = ()
        #: The ids that the others are told a count of.
        self._shared: set[int] = set()
        #: Keys that are published here, or asked for, of each app: how often.
        self._publishing: dict[str, Counter[str]] = {}
        #: By key: of the publishers whose bitrate has a bound, and of those who have just left, so that who
        #: comes back begins with what it has sent before.
        self._meters: dict[str, _Meter] = {}
        streams.listeners.add(self)
        self.replace(limits)

    def replace(self, limits: Iterable[KeyLimit]) -> None:
        """Others hold for what comes next. Who plays or publishes already stays as it is, and counts."""
        self._limits = tuple(limits)
        if self._counts is not None:
            for id in self._shared:
                self._counts.forget(id)
            self._shared.clear()
        for key in self._streams.by_key if self._limits else ():
            self._share_players(key)
        for app, keys in self._publishing.items() if self._limits else ():
            for key in keys:
                self._share_publishing(app, key)

    # ---- players -----------------------------------------------------------------------------

    def for_player(self, key: str) -> NoRoom | None:
        """None if one more may play ``key``."""
        most = self._named("players", key)
        if most is None or self._players(key) + self._elsewhere("players", key) < most:
            return None
        text = f"{key} has {most} players, which is all it may have; try again later"
        return NoRoom(CloseReason.TOO_MANY_OF_KEY, text)

    def play_started(self, key: str, reader: Reader) -> None:
        self._share_players(key)

    def play_ended(self, key: str, reader: Reader) -> None:
        self._share_players(key)

    def _players(self, key: str) -> int:
        stream = self._streams.by_key.get(key)
        return 0 if stream is None else len(stream.readers)

    def _share_players(self, key: str) -> None:
        if self._counts is not None and self._named("players", key) is not None:
            self._share("players", key, self._players(key))

    # ---- publishers --------------------------------------------------------------------------

    @contextlib.contextmanager
    def asking(self, key: str) -> Iterator[NoRoom | None]:
        """The answer for one who asks to publish ``key``, and who counts for as long as this lasts.

        Who takes over a key that is published already needs no more room.
        """
        app = _app_of(key)
        most = self._named("publishers", app)
        if most is None:
            yield None
            return
        present = len(self._publishing.get(app, ())) + self._elsewhere("publishers", app)
        if present >= most and not self._is_published(app, key):
            text = f"{app} has {most} publishers, which is all it may have; try again later"
            yield NoRoom(CloseReason.TOO_MANY_PUBLISHERS, text)
            return
        self._add_publishing(app, key)
        try:
            yield None
        finally:
            self._remove_publishing(app, key)

    def _is_published(self, app: str, key: str) -> bool:
        return key in self._publishing.get(app, ()) or self._elsewhere("publishing", key) > 0

    def publish_started(self, key: str, publisher: Publisher) -> None:
        self._add_publishing(_app_of(key), key)
        most = publisher.most_bytes_per_s
        if most is None:
            most = self._named("bitrate", key)
        if most is None:
            self._meters.pop(key, None)
        else:
            meter = self._meters.setdefault(key, _Meter(self._streams.now))
            meter.begin(most, self._appended(key))

    def publish_ended(self, key: str, publisher: Publisher) -> None:
        self._remove_publishing(_app_of(key), key)
        if (meter := self._meters.get(key)) is not None:
            meter.sent(self._streams.now, self._appended(key))

    def _appended(self, key: str) -> int:
        return self._streams.by_key[key].log.bytes_appended

    def _add_publishing(self, app: str, key: str) -> None:
        self._publishing.setdefault(app, Counter())[key] += 1
        self._share_publishing(app, key)

    def _remove_publishing(self, app: str, key: str) -> None:
        keys = self._publishing[app]
        keys[key] -= 1
        if not keys[key]:
            del keys[key]
        if not keys:
            del self._publishing[app]
        self._share_publishing(app, key)

    def _share_publishing(self, app: str, key: str) -> None:
        if self._counts is not None and self._named("publishers", app) is not None:
            keys = self._publishing.get(app, Counter())
            self._share("publishers", app, len(keys))
            self._share("publishing", key, int(key in keys))

    # ---- bitrates ----------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """Once a second: publishers that have sent too much are ended."""
        if self._counts is not None:
            self._streams.counters.counts_lost = self._counts.lost
        for key, meter in list(self._meters.items()):
            if self._streams.publishing.feed(key) is None:
                if meter.is_stale(now):
                    del self._meters[key]
                continue
            sent = meter.sent(now, self._appended(key))
            if sent > meter.most_bytes_per_s * BITRATE_WINDOW_S:
                why = (
                    f"{sent} bytes in {BITRATE_WINDOW_S} s are more than "
                    f"{meter.most_bytes_per_s} a second, which is all that it may send"
                )
                self._streams.publishing.end_for_bitrate(key, why)
                count_turned_away(self._streams, CloseReason.PUBLISHER_BITRATE)

    # ---- what is limited, and shared ---------------------------------------------------------

    def _named(self, what: str, name: str) -> int | None:
        """What the first table says of it that matches ``name``; None if none does."""
        for limit in self._limits:
            most: int | None = getattr(limit, what)
            if most is not None and limit.matches(name):
                return most
        return None

    def _share(self, kind: str, name: str, count: int) -> None:
        assert self._counts is not None
        id = self._counts.id_of(kind, name)
        if count:
            self._shared.add(id)
            self._counts.set_count(id, count)
        else:
            self._shared.discard(id)
            self._counts.forget(id)

    def _elsewhere(self, kind: str, name: str) -> int:
        counts = self._counts
        return 0 if counts is None else counts.count_elsewhere(counts.id_of(kind, name))


def count_turned_away(streams: Streams, reason: CloseReason) -> None:
    """One more play or publish was refused, or ended, for ``reason``."""
    turned_away = streams.counters.turned_away
    turned_away[reason] = turned_away.get(reason, 0) + 1


class _Meter:
    """How much the publishers of one key have sent lately."""

    __slots__ = ("_appended", "_samples", "_sent", "most_bytes_per_s")

    def __init__(self, now: float) -> None:
        self.most_bytes_per_s = 0
        self._sent = 0
        self._appended = 0
        self._samples = deque([(now, 0)])

    def begin(self, most_bytes_per_s: int, appended: int) -> None:
        """A publisher begins, to whose log so much had been appended before."""
        self.most_bytes_per_s = most_bytes_per_s
        self._appended = appended

    def sent(self, now: float, appended: int) -> int:
        """Bytes since the window began; so much has been appended in all."""
        self._sent += appended - self._appended
        self._appended = appended
        samples = self._samples
        samples.append((now, self._sent))
        while samples[0][0] < now - BITRATE_WINDOW_S:
            samples.popleft()
        return self._sent - samples[0][1]

    def is_stale(self, now: float) -> bool:
        """Nothing has been sent in the window."""
        return self._samples[-1][0] < now - BITRATE_WINDOW_S


def _app_of(key: str) -> str:
    return key.rpartition("/")[0]
