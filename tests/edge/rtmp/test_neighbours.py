"""Relays of other servers, as they speak on the wire: xiu, lal, MediaMTX; pushing, pulling and staying."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from cluster.core.bus.control import Snapshot
from cluster.core.errors import CloseReason
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import control
from cluster.core.rtmp.control import UserControlEvent
from cluster.core.rtmp.status import Code
from support.house import AAC_HEADER, AVC_HEADER, KEY, House, Peer, audio, stepped_loop, video
from support.wire_peer import Lal, MediaMtx, WirePeer, Xiu

STREAM = "live/a"
GRACE_S = 15.0
END = [Code.PLAY_UNPUBLISH_NOTIFY, Code.PLAY_STOP]
HEADERS = (Message(9, 0, AVC_HEADER), Message(8, 0, AAC_HEADER))


@pytest.fixture
def house() -> Iterator[House]:
    with stepped_loop() as loop:
        made = House(loop)
        yield made
        made.close()


def enter(house: House, make: Callable[[socket.socket], WirePeer]) -> WirePeer:
    """A foreign peer, as far as it gets by itself."""
    accepted, ours = socket.socketpair()
    accepted.setblocking(False)
    peer = make(ours)
    house.peers.append(peer)  # type: ignore[arg-type]
    house.sessions.accept(accepted, ("192.0.2.9", 40_000))
    house.settle()
    return peer


def live(house: House, start_ms: int = 0) -> Peer:
    publisher = house.publisher("a")
    headers = (message._replace(stream_id=1, timestamp=start_ms) for message in HEADERS)
    house.send(publisher, *headers, video(start_ms, KEY), video(start_ms + 40))
    return publisher


def ages(house: House, seconds: float) -> None:
    """Time goes by, second after second, as a worker sees it."""
    for _ in range(round(seconds)):
        house.advance(1)


def lal(house: House) -> WirePeer:
    return enter(house, lambda sock: Lal(sock, "live", "a"))


def frames(peer: WirePeer, stream_id: int = 1) -> list[int]:
    """Timestamps of what is no header, in order."""
    media = peer.media(stream_id=stream_id)
    return [message.timestamp for message in media if message.payload[1:2] == b"\1"]


# ---- xiu -------------------------------------------------------------------------------------


def test_xiu_pushes_on_message_stream_0(house: House) -> None:
    player = house.player("a")
    xiu = enter(house, lambda sock: Xiu(sock, "live", "a", publishes=True))
    assert xiu.codes == [Code.PUBLISH_START]
    assert xiu.status_streams == {0}
    assert isinstance(xiu, Xiu)
    assert (xiu.set_ups, xiu.results(1), xiu.results(2)) == (1, 1, 1)
    metadata = Message(MessageType.DATA_AMF0, 0, b"\x02\x00\x0aonMetaData\x03\x00\x00\x09", 0)
    xiu.send(metadata, *HEADERS, video(0, KEY, stream_id=0), video(40, stream_id=0), audio(41, stream_id=0))
    house.settle()
    assert player.times() == [0, 40]
    assert [message.type_id for message in player.media if message.type_id == 8] == [8, 8]
    xiu.close()
    house.settle()
    assert house.counters.publishers == 0


def test_xiu_pulls_all_of_it_on_message_stream_0(house: House) -> None:
    xiu = enter(house, lambda sock: Xiu(sock, "live", "a", publishes=False))
    assert xiu.codes == [Code.PLAY_START]
    publisher = live(house)
    house.send(publisher, video(80), video(120), audio(121))
    assert frames(xiu, 0) == [0, 40, 80, 120, 121]
    assert xiu.media(stream_id=1) == []
    assert isinstance(xiu, Xiu)
    assert xiu.set_ups == 1
    ages(house, 100)
    assert not xiu.closed


def test_two_uses_of_message_stream_0_at_once(house: House) -> None:
    """The table judges it like any other: what it does is refused a second time."""
    xiu = enter(house, lambda sock: Xiu(sock, "live", "a", publishes=True))
    xiu.command("publish", 9.0, "b", "live")
    xiu.command("play", 9.0, "b")
    house.settle()
    assert xiu.codes == [Code.PUBLISH_START, Code.PUBLISH_BAD_NAME, Code.PLAY_FAILED]
    assert not xiu.closed
    xiu.command("publish", 9.0, "b", "live", stream_id=1)
    xiu.send(*HEADERS, video(0, KEY, stream_id=0), *(each._replace(stream_id=1) for each in HEADERS))
    xiu.send(video(7, KEY))
    house.settle()
    assert (house.player("a").times(), house.player("b").times()) == ([0], [7])


# ---- MediaMTX --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["live/a", "live/a/", "/live/a?user=u&pass=p"])
def test_mediamtx_with_a_plain_address(house: House, path: str) -> None:
    player = house.player("a")
    source = enter(house, lambda sock: MediaMtx(sock, path, publishes=True))
    assert source.codes == [Code.PUBLISH_START]
    reader = enter(house, lambda sock: MediaMtx(sock, path, publishes=False))
    source.send(*(message._replace(stream_id=1) for message in HEADERS), video(0, KEY), video(40))
    house.settle()
    assert list(house.streams.by_key) == [STREAM]
    assert player.times() == frames(reader) == [0, 40]


# ---- a relay that stays after the end --------------------------------------------------------


@pytest.mark.parametrize("absence_s", [16, 70, 3600])
def test_a_relay_that_stays_is_given_the_stream_when_it_returns(house: House, absence_s: int) -> None:
    relay = lal(house)
    publisher = live(house)
    house.advance(1)
    house.leave(publisher)
    ages(house, absence_s)
    assert relay.codes == [Code.PLAY_RESET, Code.PLAY_START, *END]
    assert relay.user_events()[-1] == (UserControlEvent.STREAM_EOF, 1)
    assert not relay.closed
    told = len(relay.messages)
    live(house)
    assert relay.codes[4:] == [Code.PLAY_RESET, Code.PLAY_START]
    assert relay.user_events()[-1] == (UserControlEvent.STREAM_BEGIN, 1)
    kinds = [each.type_id for each in relay.messages[told:]]
    first_media = kinds.index(MessageType.VIDEO)
    assert MessageType.COMMAND_AMF0 not in kinds[first_media:], "the statuses stand before the media"
    again = relay.media(stream_id=1)[4:]
    assert [bytes(each.payload) for each in again[:2]] == [AVC_HEADER, AAC_HEADER]
    assert bytes(again[2].payload).startswith(KEY)
    times = frames(relay)
    assert len(times) == 4
    assert times == sorted(times)


def test_it_may_happen_again_and_again(house: House) -> None:
    relay = lal(house)
    for number in range(3):
        publisher = live(house)
        assert len(frames(relay)) == 2 * (number + 1)
        house.advance(1)
        house.leave(publisher)
        ages(house, 80)
    assert relay.codes.count(Code.PLAY_STOP) == 3
    assert house.counters.players == 1
    relay.close()
    house.advance(1)
    assert (house.counters.players, house.counters.streams, house.streams.by_key) == (0, 0, {})
    assert house.link.calls[-1] == ("unwatch", STREAM)


def test_a_publisher_that_returns_elsewhere_is_played_too(house: House) -> None:
    relay = lal(house)
    publisher = live(house)
    house.advance(1)
    house.leave(publisher)
    ages(house, 70)
    assert house.link.calls[-1] == ("watch", STREAM)
    house.streams.remote.stream_up(STREAM, 99, "other-node/0/1")
    messages = [video(0, KEY), video(40)]
    snapshot = Snapshot(STREAM, 99, 2, list(HEADERS), messages, "other-node/0/1")
    house.streams.remote.snapshot_received(snapshot)
    house.settle()
    assert relay.codes[-2:] == [Code.PLAY_RESET, Code.PLAY_START]
    assert len(frames(relay)) == 4
    house.streams.remote.stream_down(STREAM, 99)
    ages(house, 16)
    assert relay.codes[-2:] == END


def test_a_publisher_that_the_registry_had_lost_is_no_new_beginning_of_the_clock(house: House) -> None:
    relay = lal(house)
    house.streams.remote.stream_up(STREAM, 99, "other-node/0/1")
    messages = [video(0, KEY), video(40)]
    snapshot = Snapshot(STREAM, 99, 2, list(HEADERS), messages, "other-node/0/1")
    house.streams.remote.snapshot_received(snapshot)
    house.settle()
    house.advance(1)
    house.streams.remote.stream_down(STREAM, 99)
    ages(house, 20)
    assert relay.codes[-2:] == END
    house.streams.remote.stream_up(STREAM, 99, "other-node/0/1")
    house.settle()
    assert relay.codes[-2:] == [Code.PLAY_RESET, Code.PLAY_START]


def test_while_it_waits_nothing_of_the_stream_is_kept(house: House) -> None:
    relay = lal(house)
    publisher = live(house)
    house.send(publisher, *(video(40 * number, size=10_000) for number in range(2, 20)))
    house.advance(1)
    house.leave(publisher)
    log = house.streams.by_key[STREAM].log
    assert log.bytes_held > 100_000
    ages(house, GRACE_S + 1)
    assert log.bytes_held == 0
    assert not relay.closed


def test_a_relay_that_was_behind_gets_no_more_of_the_old(house: House) -> None:
    relay = lal(house)
    publisher = live(house)
    house.advance(1)
    house.peers.remove(relay)  # type: ignore[arg-type]  # it does not read
    for number in range(2, 60):
        house.send(publisher, video(40 * number, size=60_000))
    house.leave(publisher)
    ages(house, GRACE_S + 1)
    house.peers.append(relay)  # type: ignore[arg-type]
    house.settle()
    assert relay.codes[-2:] == END
    assert not relay.closed
    ages(house, 60)  # nor is it slow: there is nothing that it could read
    assert relay.media(stream_id=1)[-1].timestamp < 40 * 59
    assert not relay.closed
    before = len(frames(relay))
    live(house)
    assert len(frames(relay)) == before + 2


def test_what_a_waiting_player_asks_for(house: House) -> None:
    relay = lal(house)
    publisher = live(house)
    live_b = house.publisher("b")
    house.send(live_b, *(each._replace(stream_id=1) for each in HEADERS), video(5, KEY))
    house.advance(1)
    house.leave(publisher)
    ages(house, 30)
    relay.command("pause", 0.0, True, 0.0, stream_id=1)
    relay.command("receiveAudio", 0.0, False, stream_id=1)
    relay.send(control.set_buffer_length(1, 500))
    house.settle()
    assert relay.codes[-1] == Code.PAUSE_NOTIFY
    relay.command("play", 0.0, "b", stream_id=1)
    house.settle()
    assert frames(relay)[-1] == 5
    assert list(house.streams.by_key[STREAM].readers) == []
    relay.command("closeStream", 0.0, stream_id=1)
    house.settle()
    assert house.counters.players == 0


def test_one_that_is_paused_stays_paused_when_the_stream_returns(house: House) -> None:
    relay = lal(house)
    publisher = live(house)
    house.advance(1)
    relay.command("pause", 0.0, True, 0.0, stream_id=1)
    house.settle()
    house.leave(publisher)
    ages(house, 30)
    live(house)
    assert relay.codes[-1] == Code.PLAY_START
    assert frames(relay) == [0, 40]
    relay.command("pause", 0.0, False, 0.0, stream_id=1)
    house.settle()
    assert len(frames(relay)) == 4


@pytest.mark.parametrize("how", ["closeStream", "deleteStream"])
def test_one_that_stops_while_it_waits_is_idle(house: House, how: str) -> None:
    relay = lal(house)
    publisher = live(house)
    house.advance(1)
    house.leave(publisher)
    ages(house, 30)
    relay.command(how, 0.0, *([1.0] if how == "deleteStream" else []), stream_id=1)
    house.settle()
    assert house.counters.players == 0
    live(house)
    assert frames(relay) == [0, 40]
    ages(house, 62)
    assert relay.closed
    assert house.counters.closes[CloseReason.IDLE_TIMEOUT] == 1


def test_who_has_had_what_it_asked_for_does_not_wait(house: House) -> None:
    relay = lal(house)
    relay.command("play", 0.0, "a", -2.0, 0.05, stream_id=1)
    publisher = live(house)
    house.send(publisher, video(80), video(120))
    assert relay.codes[-1] == Code.PLAY_STOP
    assert house.counters.players == 0
    ages(house, 62)
    assert relay.closed


def test_who_came_before_any_publisher_is_sent_away_as_ever(house: House) -> None:
    relay = lal(house)
    ages(house, 31)
    assert relay.codes[-1] == Code.PLAY_STREAM_NOT_FOUND
    assert relay.closed
