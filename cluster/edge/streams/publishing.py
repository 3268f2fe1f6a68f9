"""The publishers of one worker: how a publisher gets a stream, and how it loses it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from cluster.core.bus.control import CLOSED, DRAINING, Refused
from cluster.edge.streams.audio_hold import AudioHold
from cluster.edge.streams.interfaces import EndOfPublish, Publisher, Refusal
from cluster.edge.streams.stream import Stream

if TYPE_CHECKING:
    from cluster.edge.streams.streams import Streams

logger = logging.getLogger(__name__)


class Feed:
    """What a granted publisher holds: the stream ``key`` is fed by it, in ``epoch``.

    ``append`` takes one message of the publisher: it is the stream's own method, or, while somebody hears
    it, that of the ride on which its audio waits for its video.
    """

    __slots__ = (
        "_dropped_before", "_publishing", "_ride", "append", "epoch", "key", "publisher", "stream",
    )  # fmt: skip

    def __init__(self, publishing: Publishing, publisher: Publisher, stream: Stream, epoch: int) -> None:
        self._publishing = publishing
        self.publisher = publisher
        self.stream = stream
        self.key = stream.key
        self.epoch = epoch
        self._ride = publishing.hold.ride(stream, publisher)
        self.append = stream.append
        self.note_heard()
        self._dropped_before = stream.log.dropped_before_keyframe

    @property
    def dropped(self) -> int:
        """Messages of this publisher that were not passed on: video before a keyframe."""
        return self.stream.log.dropped_before_keyframe - self._dropped_before

    @property
    def is_heard(self) -> bool:
        """Somebody waits for its messages: a reader here or elsewhere, or a program."""
        return self.stream.is_heard

    def end(self) -> None:
        """The publisher leaves; without effect if it has lost the stream already."""
        self._publishing.end(self)

    def note_heard(self) -> None:
        """``is_heard`` may have changed."""
        if self._ride is not None:
            self.append = self._ride.append if self.is_heard else self.stream.append

    def stop_riding(self) -> None:
        """Its audio waits no more."""
        if self._ride is not None:
            self._ride.stop()


class Publishing:
    """Who publishes what on this worker."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._feeds: dict[str, Feed] = {}
        self.hold = AudioHold(streams.turn, streams.rules.audio_hold_s)

    def feed(self, key: str) -> Feed | None:
        """What feeds ``key``, if it is published here."""
        return self._feeds.get(key)

    async def request(self, key: str, publisher: Publisher) -> None:
        """Ask for ``key``: the registry decides, and ``publisher`` is told. Cancelling takes it back."""
        streams = self._streams
        answer = await streams.uplink.request_publish(key, replace=streams.rules.contest.always)
        streams.turn.begin()
        if isinstance(answer, Refused):
            if answer.reason == DRAINING:
                publisher.refused(Refusal.DRAINING, "this node is shutting down; connect again")
            elif answer.reason == CLOSED:
                publisher.refused(Refusal.BUSY, f"an operator has closed {key} for a time")
            else:
                publisher.refused(Refusal.BUSY, f"{key} is already being published")
            return
        present = self._feeds.get(key)
        if present is not None:
            # Asked for at the same time, and granted before the link's decision for this one.
            self._take_away(present, EndOfPublish.REPLACED, "another publisher took over")
        if publisher.granted():
            self._begin(key, publisher, answer.epoch)
        else:
            streams.uplink.unpublish(key, answer.epoch)

    def _begin(self, key: str, publisher: Publisher, epoch: int) -> None:
        streams = self._streams
        stream = streams.open(key)
        streams.remote.unwatch(key)
        streams.tell_return(stream)
        stream.begin(epoch, is_local=True)
        stream.set_wanted(streams.uplink.wanted(key))
        feed = self._feeds[key] = Feed(self, publisher, stream, epoch)
        streams.counters.publishers += 1
        if streams.lines.admit(logging.INFO, "publish", publisher.sender):
            fields = {"stream": key, "role": "publisher", "epoch": epoch}
            logger.info("publish %(stream)s", fields, extra={"event": "publish", **publisher.facts})
        stream.tap = streams.listeners.tap(key)
        streams.listeners.publish_started(key, publisher)
        publisher.begin(feed)
        streams.turn.end()

    def end(self, feed: Feed) -> None:
        """The publisher of ``feed`` leaves; its readers wait for it to return, here or elsewhere."""
        if self._feeds.get(feed.key) is not feed:
            return
        del self._feeds[feed.key]
        streams, stream = self._streams, feed.stream
        streams.counters.publishers -= 1
        feed.stop_riding()
        stream.end()  # first: the link sends only what is published here
        streams.uplink.unpublish(feed.key, feed.epoch)
        if stream.is_read:
            streams.remote.watch(feed.key)
        if streams.lines.admit(logging.INFO, "unpublish", feed.publisher.sender):
            fields = {"stream": feed.key, "role": "publisher"}
            extra = {"event": "unpublish", **feed.publisher.facts}
            logger.info("unpublish %(stream)s", fields, extra=extra)
        stream.tap = None
        streams.listeners.publish_ended(feed.key, feed.publisher)

    def contest(self, key: str, replace: bool) -> bool:
        """Another publisher wants ``key``. Ours yields if told to, or if it has gone silent."""
        feed = self._feeds.get(key)
        if feed is None:
            return True
        self._streams.turn.begin()
        silent_s = self._streams.turn.now - feed.stream.last_media_at
        stays = not replace and silent_s < self._streams.rules.contest.silent_s
        logger.debug(
            "another publisher wants %(stream)s: the present one, silent for %(silent_s).1f s, %(answer)s",
            {"stream": key, "silent_s": silent_s, "answer": "stays" if stays else "loses it"},
            extra={"event": "publish_contested", **feed.publisher.facts},
        )
        if stays:
            return False
        self._take_away(feed, EndOfPublish.REPLACED, "another publisher took over")
        return True

    def revoked(self, key: str, epoch: int) -> None:
        """Another worker publishes ``key`` with a higher epoch: ours was the loser of a partition."""
        feed = self._feeds.get(key)
        if feed is not None and feed.epoch == epoch:
            self._streams.turn.begin()
            self._take_away(feed, EndOfPublish.REPLACED, "another publisher has the stream")

    def end_for_memory(self, key: str, cost_bytes: int) -> None:
        """The worker's memory is used up, and ``key`` takes most; without effect if it is not ours."""
        feed = self._feeds.get(key)
        if feed is not None:
            why = f"it makes the server keep {cost_bytes} bytes, and there is no room for them"
            self._take_away(feed, EndOfPublish.MEMORY, why)

    def end_for_bitrate(self, key: str, detail: str) -> None:
        """The publisher of ``key`` has sent too much; without effect if it is not ours."""
        feed = self._feeds.get(key)
        if feed is not None:
            self._take_away(feed, EndOfPublish.BITRATE, detail)

    def end_by_operator(self, key: str, why: str) -> bool:
        """Take ``key`` from its publisher; False if nobody publishes it here."""
        feed = self._feeds.get(key)
        if feed is not None:
            self._streams.turn.begin()
            self._take_away(feed, EndOfPublish.OPERATOR, why)
        return feed is not None

    def audience_changed(self, key: str) -> None:
        """Somebody has begun, or the last one has ceased, to listen to the stream."""
        feed = self._feeds.get(key)
        if feed is not None:
            feed.note_heard()
            feed.publisher.heard()

    def _take_away(self, feed: Feed, why: EndOfPublish, detail: str) -> None:
        feed.publisher.ended(why, f"{feed.key}: {detail}")
        self.end(feed)
