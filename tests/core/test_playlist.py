"""Plays that wait for the one before them to end (RTMP 1.0, section 7.2.2.1: reset), and how plays end."""

from __future__ import annotations

import pytest
from session_support import AAC, connected, playing, summary, with_stream

from cluster.core.amf import amf0
from cluster.core.message import Message
from cluster.core.rtmp.events import Event, PlayEnded, PlayRequested, StreamClosed
from cluster.core.rtmp.message_stream import MAX_PLAYLIST
from cluster.core.rtmp.server_session import ServerSession
from cluster.core.rtmp.states import StreamState


def append(peer: object, name: str, *args: object, stream_id: int = 1) -> list[Event]:
    """Ask for ``name`` after what is played."""
    start, duration = (*args, -2.0, -1.0)[:2] if args else (-2.0, -1.0)
    received: list[Event] = peer.command(  # type: ignore[attr-defined]
        "play", 0.0, None, name, start, duration, False, stream_id=stream_id
    )
    return received


def play_status(code: str) -> tuple[int, str, int]:
    info = {"level": "status", "code": code, "description": ""}
    return 18, amf0.encode("onPlayStatus", info).hex(), 1


def next_play(server: ServerSession) -> list[object]:
    return list(server.receive(b"", 0.0))


@pytest.mark.parametrize("reset", [False, 0.0, 2.0])
def test_a_play_without_reset_waits_for_the_present_one(reset: object) -> None:
    server, peer = playing()
    assert peer.command("play", 0.0, None, "b?k=1", 5.0, 7.0, reset, stream_id=1) == []
    assert peer.output() == []
    assert server.end_play(1) is True
    assert summary(peer.output()) == [play_status("NetStream.Play.Switch")]
    assert next_play(server) == [PlayRequested(1, "b", "k=1", 5.0, 7.0, False)]
    server.accept_play(1)
    assert [line[1] for line in summary(peer.output())][:2] == ["000000000001", "NetStream.Play.Start"]


def test_plays_follow_in_order_and_then_it_is_over() -> None:
    server, peer = playing()
    append(peer, "b")
    append(peer, "c")
    for name in ("b", "c"):
        server.end_play(1)
        assert next_play(server) == [PlayRequested(1, name, "", -2.0, -1.0, False)]
        server.accept_play(1)
    peer.output()
    server.end_play(1)
    assert next_play(server) == []
    assert summary(peer.output()) == [
        play_status("NetStream.Play.Complete"),
        (4, "000100000001", 0),
        ("onStatus", "NetStream.Play.Stop", 1),
    ]


def test_the_end_of_a_stream_says_that_it_was_unpublished() -> None:
    server, peer = playing()
    assert server.suspend_play(1) is True
    assert summary(peer.output()) == [
        (4, "000100000001", 0),
        ("onStatus", "NetStream.Play.UnpublishNotify", 1),
        ("onStatus", "NetStream.Play.Stop", 1),
    ]


def test_the_end_of_a_stream_goes_on_to_the_next() -> None:
    server, peer = playing()
    append(peer, "b")
    assert server.suspend_play(1) is False, "it does not wait for the stream"
    assert summary(peer.output()) == [play_status("NetStream.Play.Switch")]
    assert next_play(server) == [PlayRequested(1, "b", "", -2.0, -1.0, False)]


def test_a_play_for_after_the_end_begins_at_once_if_the_end_has_been() -> None:
    server, peer = playing()
    server.suspend_play(1)
    assert append(peer, "b") == [PlayEnded(1), PlayRequested(1, "b", "", -2.0, -1.0, False)]
    assert server.resume_play(1) is False


def test_a_rejected_play_goes_on_to_the_next() -> None:
    server, peer = with_stream()
    peer.command("play", 0.0, None, "a", stream_id=1)
    append(peer, "b")
    assert server.reject_play(1, "NetStream.Play.StreamNotFound", "no") is True
    assert next_play(server) == [PlayRequested(1, "b", "", -2.0, -1.0, False)]
    assert server.reject_play(1, "NetStream.Play.StreamNotFound", "no") is True
    assert next_play(server) == []
    assert server.reject_play(1, "NetStream.Play.StreamNotFound", "no") is False


def test_the_first_of_a_playlist_plays_at_once() -> None:
    _, peer = with_stream()
    assert append(peer, "a") == [PlayRequested(1, "a", "", -2.0, -1.0, False)]


@pytest.mark.parametrize("reset", [None, True, 1.0, 3.0])
def test_a_play_with_reset_clears_the_playlist(reset: object) -> None:
    server, peer = playing()
    append(peer, "b")
    received = peer.command("play", 0.0, None, "c", -2.0, -1.0, reset, stream_id=1)
    assert received == [PlayEnded(1), PlayRequested(1, "c", "", -2.0, -1.0, True)]
    server.accept_play(1)
    server.end_play(1)
    assert next_play(server) == []


@pytest.mark.parametrize(("name", "args"), [("closeStream", ()), ("play", (False,))])
def test_stopping_clears_the_playlist(name: str, args: tuple[object, ...]) -> None:
    server, peer = playing()
    append(peer, "b")
    assert peer.command(name, 0.0, None, *args, stream_id=1) == [PlayEnded(1)]
    assert server.streams[1].playlist == ()


def test_deleting_the_stream_forgets_it() -> None:
    server, peer = playing()
    append(peer, "b")
    assert peer.command("deleteStream", 0.0, None, 1.0) == [PlayEnded(1), StreamClosed(1)]
    peer.command("createStream", 2.0)
    assert server.streams[1].playlist == ()


def test_a_stop_between_two_plays_stops_the_next() -> None:
    server, peer = playing()
    append(peer, "b")
    server.end_play(1)
    assert peer.command("closeStream", 0.0, stream_id=1) == [
        PlayRequested(1, "b", "", -2.0, -1.0, False), PlayEnded(1),
    ]  # fmt: skip
    assert server.streams[1].state is StreamState.IDLE


def test_media_held_for_a_publish_is_not_lost_to_a_playlist() -> None:
    server, peer = playing()
    peer.command("createStream", 2.0)
    peer.command("publish", 3.0, None, "mine", stream_id=2)
    early = Message(8, 0, AAC, 2)
    peer.send(early)
    append(peer, "b")
    server.end_play(1)
    assert next_play(server) == [PlayRequested(1, "b", "", -2.0, -1.0, False)]
    server.accept_publish(2)
    assert next_play(server) == [early]


@pytest.mark.parametrize(("count", "refused"), [(MAX_PLAYLIST, 0), (MAX_PLAYLIST + 1, 1)])
def test_as_long_as_it_may_be_and_one_past(count: int, refused: int) -> None:
    server, peer = playing()
    for number in range(count):
        append(peer, f"{number}")
    assert [line[1] for line in summary(peer.output())] == ["NetStream.Play.Failed"] * refused
    assert len(server.streams[1].playlist) == MAX_PLAYLIST


def test_publishing_is_not_followed_by_a_play() -> None:
    server, peer = connected()
    peer.command("createStream", 2.0)
    peer.command("publish", 3.0, None, "mine", stream_id=1)
    peer.output()
    assert append(peer, "b") == []
    assert summary(peer.output()) == [("onStatus", "NetStream.Play.Failed", 1)]
    assert server.streams[1].state is StreamState.PUBLISH_PENDING
