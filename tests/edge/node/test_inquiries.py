"""What a worker answers to an operator, and does when it is told to: a whole worker in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_worker import HEADERS, LOCALHOST, RunningWorker, Scene, same_garbage_collection, scene

from cluster.core.bus import questions
from cluster.core.bus.questions import (
    AskSessions,
    AskStreams,
    AskSummary,
    Done,
    Drain,
    EndStream,
    Fault,
    Kick,
    Reload,
    SessionPage,
    StreamRows,
    Summary,
    Undrain,
)
from cluster.core.errors import CloseReason
from cluster.edge.node.orders import Service
from cluster.edge.node.status_pipe import Asked
from cluster.net.addresses import BindAddress, reserved
from support.house import KEY, audio, video
from support.sockets import on_uvloop, until
from support.tcp_peer import TcpPeer

__all__ = ["same_garbage_collection"]  # a fixture


async def worker(here: Scene, **options: Any) -> RunningWorker:
    """One whose answers do not end early because another process has the CPU: its clock stands still."""
    running = await here.worker(**options)
    running.worker._inquiries._clock = lambda: 0.0
    return running


def ask(running: RunningWorker, question: Any) -> Any:
    said = running.worker._inquiries.answer(questions.encode_question(question))
    return questions.decode_answer(said)


async def publisher_and_player(here: Scene, running: RunningWorker) -> tuple[TcpPeer, TcpPeer]:
    publisher, player = await here.peer(running), await here.peer(running)
    await publisher.publish("a")
    publisher.send(*HEADERS, audio(0), video(0, KEY), *(video(40 * n) for n in range(1, 20)))
    await player.play("a")
    await until(lambda: len(ask(running, AskSessions(role="player")).rows) == 1, "the player")
    await until(lambda: ask(running, AskSessions(role="player")).rows[0].state == "playing", "it to play")
    return publisher, player


def test_sessions_are_listed_filtered_and_paged(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            await publisher_and_player(here, running)
            await here.peer(running)
            running.worker._inquiries._clock = lambda: 0.0  # a page has all the time it wants
            page = ask(running, AskSessions())
            assert [row.number for row in page.rows] == [1, 2, 3]
            assert page.after is None
            publisher, player, idle = page.rows
            assert (publisher.role, publisher.key, publisher.state) == ("publisher", "live/a", "publishing")
            assert (player.role, player.key, player.state) == ("player", "live/a", "playing")
            assert (idle.role, idle.key, idle.state) == ("", "", "connected")
            assert {row.kind for row in page.rows} == {"rtmp"}
            assert publisher.received_bytes > 200
            assert player.delay_ms == 0
            assert not publisher.is_secure

            assert ask(running, AskSessions(limit=2)).after == 2
            assert [row.number for row in ask(running, AskSessions(after=2)).rows] == [3]
            for asked, numbers in (
                (AskSessions(role="player"), [2]), (AskSessions(key="live/a"), [1, 2]),
                (AskSessions(key="live/*"), [1, 2]), (AskSessions(key="live/b"), []),
                (AskSessions(kind="flv"), []), (AskSessions(kind="rtmp", role="publisher"), [1]),
                (AskSessions(number=3), [3]), (AskSessions(number=4), []),
            ):  # fmt: skip
                assert [row.number for row in ask(running, asked).rows] == numbers, asked

    on_uvloop(main())


def test_a_page_ends_when_its_time_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            for _ in range(3):
                await here.peer(running)
            now = iter(range(100))
            monkeypatch.setattr(running.worker._inquiries, "_clock", lambda: float(next(now)))
            page = ask(running, AskSessions())
            assert isinstance(page, SessionPage)
            assert ([row.number for row in page.rows], page.after) == ([1], 1)
            rows = ask(running, AskStreams(("a", "b")))
            assert rows == StreamRows((), 1)

    on_uvloop(main())


def test_who_passes_no_filter_does_not_hold_up_a_page_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.edge.node.inquiries.MAX_LOOKED_AT", 2)

    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            for _ in range(3):
                await here.peer(running)
            assert ask(running, AskSessions(role="player")) == SessionPage((), 2)
            assert ask(running, AskSessions(role="player", after=2)) == SessionPage((), None)

    on_uvloop(main())


def test_a_stream_is_told_by_its_headers_and_frames(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            await publisher_and_player(here, running)
            rows = ask(running, AskStreams(("live/a", "live/none")))
            assert rows.looked_at == 2
            [row] = rows.rows
            assert (row.key, row.is_origin, row.session, row.players) == ("live/a", True, 1, {"rtmp": 1})
            tracks = questions.decode_tracks(row.tracks)
            assert [(track.kind, track.codec) for track in tracks] == [("video", "avc1"), ("audio", "mp4a")]
            assert (row.fps, tracks[1].sample_rate) == (25.0, 48_000)

    on_uvloop(main())


def test_a_summary(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            await publisher_and_player(here, running)
            said = ask(running, AskSummary())
            assert isinstance(said, Summary)
            assert (said.connections, said.publishers, said.players, said.draining) == (2, 1, 1, False)
            assert said.memory_bytes > 1_000_000
            assert list(said.routers) == [f"ipc://{tmp_path / 'nobody-serves-this'}"]

    on_uvloop(main())


def test_a_kick_is_carried_out_once(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            _, player = await publisher_and_player(here, running)
            assert ask(running, Kick("x", 2, "enough\n")) == Done(True)
            assert ask(running, Kick("x", 9)) == Done(False)  # another order
            assert ask(running, Kick("x", 2, "enough\n")) == Done(True)
            await player.until_closed()
            assert running.closes == {CloseReason.KICKED: 1}
            await until(lambda: ask(running, AskSessions(number=2)).rows == (), "it to be gone")
            assert ask(running, Kick("y", 2)) == Done(False)
            assert ask(running, Kick("x", 2, "enough\n")) == Done(True)

    on_uvloop(main())


def test_a_publisher_that_is_kicked_or_whose_stream_is_ended_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            first, _ = await publisher_and_player(here, running)
            assert ask(running, EndStream("x", "live/a", "because")) == Done(True)
            assert ask(running, EndStream("y", "live/a")) == Done(False)
            await first.until_closed()
            second = await here.peer(running)
            await second.publish("b")
            assert ask(running, Kick("z", 3)) == Done(True)
            await second.until_closed()
            assert running.closes[CloseReason.KICKED] == 2

    on_uvloop(main())


def test_what_is_asked_of_the_node_goes_to_its_supervisor(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            for order in (Drain("a", 2.5), Undrain("b"), Reload("c"), Reload("c")):
                assert ask(running, order) == Done(True)
            running.read_status()
            asked = [said for said in running.beats if isinstance(said, Asked)]
            assert asked == [Asked("drain", 2.5), Asked("undrain"), Asked("reload")]

    on_uvloop(main())


def test_a_worker_goes_out_of_service_and_comes_back(tmp_path: Path) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            # Of port 0 the kernel would pick another port when it listens again.
            with reserved((BindAddress(LOCALHOST, 0),)) as binds:
                running = await worker(here, binds=binds)
            _, player = await publisher_and_player(here, running)
            running.worker.serve(Service.OUT)
            await until(lambda: ask(running, AskSummary()).draining, "it to drain")
            with pytest.raises(OSError):  # noqa: PT011
                await here.peer(running)
            assert ask(running, AskSessions(role="player")).rows[0].state == "playing"
            running.worker.serve(Service.IN)
            await until(lambda: not ask(running, AskSummary()).draining, "it to be back")
            another = await here.peer(running)
            await another.publish("b")
            running.worker.serve(Service.OVER)  # at once: a deadline of no time
            await player.until_closed()
            await until(lambda: ask(running, AskSummary()).connections == 0, "all to be gone")
            assert ask(running, AskSummary()).draining
            assert running.closes == {CloseReason.DRAINED: 3}
            assert not running.task.done()

    on_uvloop(main())


@pytest.mark.parametrize("text", [b"", b"{}", b'{"kick":{}}', b"\xff", b'{"summary":{}}' * 2])
def test_what_is_no_question_is_a_fault(tmp_path: Path, text: bytes) -> None:
    async def main() -> None:
        async with scene(tmp_path) as here:
            running = await worker(here)
            assert isinstance(questions.decode_answer(running.worker._inquiries.answer(text)), Fault)

    on_uvloop(main())
