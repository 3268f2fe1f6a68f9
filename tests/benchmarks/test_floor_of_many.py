"""The floor of many streams: who gets whose bytes, and from where on."""

from __future__ import annotations

import select
import socket
import threading

import pytest

from benchmarks import floor_of_many
from benchmarks.model import Setting
from benchmarks.scenarios import SCENARIOS, comparison
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.url import RtmpUrl
from cluster.load.dialogue import Dialogue
from cluster.load.media import StreamShape, encode_chunks
from cluster.load.tally import Role

CHUNK_SIZE = 4096
TIMEOUT_S = 10.0


class Peer:
    """A publisher or a player of the generator, on a blocking socket."""

    def __init__(self, role: Role, port: int, name: str) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self._dialogue = Dialogue(role, RtmpUrl.parse(f"rtmp://127.0.0.1:{port}/live/{name}"), CHUNK_SIZE)
        self.sock.sendall(self._dialogue.outgoing())
        while not self._dialogue.ready:
            assert self.read() == []

    def read(self) -> list[Message]:
        data = self.sock.recv(65536)
        assert data, "the floor has closed"
        media = self._dialogue.receive(data)
        self.sock.sendall(self._dialogue.outgoing())
        return media

    def media(self, count: int) -> list[tuple[int, bytes]]:
        """So many messages: type and payload."""
        found: list[Message] = []
        while len(found) < count:
            found += self.read()
        return [(message.type_id, message.payload) for message in found]

    def has_something(self) -> bool:
        return bool(select.select([self.sock], [], [], 0)[0])


def video(letter: bytes) -> tuple[int, bytes]:
    """Of more than one chunk."""
    return int(MessageType.VIDEO), letter * (CHUNK_SIZE + 1_000)


def chunks(message: tuple[int, bytes]) -> bytes:
    return bytes(encode_chunks(*message, CHUNK_SIZE, 1))


@pytest.mark.parametrize("batch_s", [0.0, 0.01])
def test_players_get_what_their_publisher_sends_from_the_next_message_on(batch_s: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def run() -> None:
            guests = floor_of_many.let_in(server, 2, 3)
            floor_of_many.forward(floor_of_many.routes(guests), batch_s)
            for guest in guests:
                guest.sock.close()

        thread = threading.Thread(target=run)
        thread.start()
        socket.create_connection(("127.0.0.1", port)).close()  # as the generator looks for the server
        left, right = (Peer(Role.PUBLISHER, port, name) for name in ("left", "right"))
        begun = chunks(video(b"0"))
        left.sock.sendall(chunks(video(b"-")) + begun[:3_000])
        players = [Peer(Role.PLAYER, port, name) for name in ("left", "right", "left")]
        left.sock.sendall(begun[3_000:])
        left.sock.sendall(chunks(video(b"1")) + chunks(video(b"2")))
        right.sock.sendall(chunks(video(b"3")))
        assert players[0].media(2) == players[2].media(2) == [video(b"1"), video(b"2")]
        assert players[1].media(1) == [video(b"3")]

        audio = int(MessageType.AUDIO), b"a" * 300
        left.sock.sendall(chunks(audio))
        right.sock.sendall(chunks(video(b"4")))
        assert players[1].media(1) == [video(b"4")]
        assert not players[0].has_something(), "audio did not wait for video"
        left.sock.sendall(chunks(video(b"5")))
        assert players[0].media(2) == [audio, video(b"5")]

        left.sock.close()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()
        for peer in (right, *players):
            peer.sock.close()


def test_what_waits_in_the_kernel_is_audio_and_no_frame() -> None:
    messages = StreamShape(bits_per_second=1_000_000).messages()
    sizes = {kind: [len(chunks((kind, payload))) for _, type_id, payload in messages if type_id == kind]
             for kind in (int(MessageType.AUDIO), int(MessageType.VIDEO))}  # fmt: skip
    audio, frames = sizes.values()
    assert 2 * max(audio) < floor_of_many.LOW_WATER_BYTES <= min(frames)


@pytest.mark.parametrize("name", ["many-streams", "cameras"])
def test_each_edge_with_many_streams_has_its_floor(name: str) -> None:
    scenario = next(each for each in SCENARIOS if each.name == name)
    names = [case.name for case in scenario.cases(Setting())]
    floors = [each for each in names if each.startswith("floor")]
    edges = [each for each in names if each.startswith("edge")]
    assert set(floors) == {comparison._FLOOR_OF[edge] for edge in edges}
    assert len(floors) == len(set(floors))
