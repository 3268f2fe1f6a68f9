"""``rtmp-cluster load`` against servers that are not like ours: MediaMTX's ways, on a scripted server."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from cluster.core.media.classify import MediaFlags, flags_of
from cluster.core.message import Message, MessageType
from cluster.core.rtmp import events
from cluster.core.rtmp.events import Event
from cluster.core.rtmp.status import Code
from cluster.load import synthetic
from cluster.process.exit_codes import ExitCode
from support.cluster_process import ROOT
from support.scripted_server import Peer, Script, accept, serving

TIMEOUT_S = 60.0
Rewrite = Callable[[Message], Message]
Refuse = Callable[[Peer, int], None]


def nal(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


#: An access unit delimiter, SPS and PPS.
PARAMETER_SETS = nal(b"\x09\x10") + nal(synthetic._SPS) + nal(synthetic._PPS)


def is_keyframe(message: Message) -> bool:
    return bool(flags_of(message.type_id, message.payload) & MediaFlags.KEYFRAME)


def with_parameter_sets(message: Message) -> Message:
    """A keyframe as MediaMTX sends it on."""
    if not is_keyframe(message):
        return message
    payload = bytes(message.payload)
    return message._replace(payload=payload[:5] + PARAMETER_SETS + payload[5:])


class Relay:
    """A script that passes on what is published to those who play, and refuses some of these.

    ``frames_first``: so many have to have come before anybody may play. ``never`` says which of all plays
    are refused besides, counted from 1; ``refuse`` does it.
    """

    def __init__(
        self, *, frames_first: int = 0, refuse: Refuse | None = None,
        never: Callable[[int], bool] | None = None, rewrite: Rewrite = lambda message: message,
    ) -> None:  # fmt: skip
        self.refused = 0
        self._frames_first = frames_first
        self._refuse = refuse
        self._never = never
        self._rewrite = rewrite
        self._frames = 0
        self._asked = 0
        self._headers: list[Message] = []
        self._players: list[tuple[Peer, bool]] = []

    def __call__(self, peer: Peer, event: Event) -> None:
        if not isinstance(event, events.PlayRequested):
            accept(peer, event)
            if isinstance(event, events.PublishRequested):
                peer.messages = _Tap(self._publish)
            return
        self._asked += 1
        if self._frames < self._frames_first or (self._never is not None and self._never(self._asked)):
            self.refused += 1
            assert self._refuse is not None
            self._refuse(peer, event.stream_id)
            return
        peer.session.accept_play(event.stream_id)
        for header in self._headers:
            peer.session.send(header)
        peer.flush()
        self._players.append((peer, False))

    def _publish(self, message: Message) -> None:
        if flags_of(message.type_id, message.payload) & MediaFlags.SEQUENCE_HEADER:
            self._headers.append(message)
        self._frames += message.type_id == MessageType.VIDEO
        passed = self._rewrite(message)
        for index, (peer, begun) in enumerate(self._players):
            if peer.writer.is_closing() or not (begun or is_keyframe(message)):
                continue
            self._players[index] = peer, True
            peer.session.send(passed)
            peer.flush()


class _Tap(list[Message]):
    """Takes a publisher's messages as they come, and keeps none."""

    def __init__(self, tell: Callable[[Message], None]) -> None:
        super().__init__()
        self._tell = tell

    def append(self, message: Message) -> None:
        self._tell(message)


def with_an_error(peer: Peer, stream_id: int) -> None:
    peer.session.reject_play(stream_id, Code.PLAY_STREAM_NOT_FOUND, "no stream is available")
    peer.close()


def without_a_word(peer: Peer, stream_id: int) -> None:
    peer.close()


def loaded(script: Script, *options: str) -> tuple[int | None, dict[str, Any]]:
    """The exit code and the result of a load on a server that follows the script."""

    async def work() -> tuple[int | None, dict[str, Any]]:
        async with serving(script) as server, asyncio.timeout(TIMEOUT_S):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "cluster", "load", server.url(), "--bitrate", "300k", "--gop", "0.5",
                "--ramp", "0.1", "--json", "-", *options,
                cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            try:
                out, err = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
            assert out, err
            return process.returncode, json.loads(out)

    return asyncio.run(work())


@pytest.mark.parametrize("refuse", [with_an_error, without_a_word])
@pytest.mark.parametrize("drain", ["arrival", "timer"])
def test_players_that_come_before_a_stream_may_be_played_come_again(refuse: Refuse, drain: str) -> None:
    relay = Relay(frames_first=45, refuse=refuse)  # a second and a half
    options = ["--players", "6", "--sample", "3", "--drain", drain, "--settle", "4", "--duration", "1"]
    code, found = loaded(relay, *options)
    assert [line for line in found["complaints"] if "late by" not in line] == []
    assert code == ExitCode.OK
    players = found["players"]
    assert (players["joined"], players["playing"]) == (6, 6)
    assert players["tried_again"] == relay.refused >= 6
    assert found["refused"] == {}


def test_who_is_refused_until_measuring_begins_has_failed() -> None:
    relay = Relay(frames_first=10_000, refuse=with_an_error)
    code, found = loaded(relay, "--players", "2", "--settle", "0.5", "--duration", "0.5")
    assert code == ExitCode.REFUSED
    reason = "NetStream.Play.StreamNotFound: no stream is available"
    assert found["refused"] == {"player": {reason: 2}}
    assert f"2 players failed: {reason}" in found["complaints"]
    assert found["players"]["tried_again"] == relay.refused - 2 > 0


def test_one_that_fails_among_many_is_no_success() -> None:
    options = ["--players", "4", "--settle", "1", "--duration", "0.5", "--ramp", "0"]
    once = Relay(refuse=with_an_error, never=lambda asked: asked == 2)
    code, found = loaded(once, *options)
    assert code == ExitCode.OK, "its second try was taken"
    assert found["players"]["tried_again"] == 1
    always = Relay(refuse=with_an_error, never=lambda asked: asked >= 4)
    code, found = loaded(always, *options)
    assert code == ExitCode.REFUSED
    assert found["players"]["joined"] == 3
    assert any(line.startswith("1 player failed: ") for line in found["complaints"])


def test_parameter_sets_in_front_of_keyframes_are_no_loss() -> None:
    relay = Relay(rewrite=with_parameter_sets)
    code, found = loaded(relay, "--players", "3", "--settle", "0.5", "--duration", "2")
    assert code == ExitCode.OK, found["complaints"]
    assert (found["frames"]["lost"], found["frames"]["out_of_order"]) == (0, 0)
    assert found["frames"]["read"] > 3 * 2 * 60


def test_a_loss_is_seen_all_the_same() -> None:
    seen: list[int] = []

    def lossy(message: Message) -> Message:
        seen.append(message.type_id)
        if message.type_id == MessageType.VIDEO and seen.count(MessageType.VIDEO) % 10 == 0:
            return message._replace(payload=b"")
        return with_parameter_sets(message)

    _, found = loaded(Relay(rewrite=lossy), "--players", "1", "--settle", "0.5", "--duration", "1")
    assert found["frames"]["lost"] >= 2
