"""The small parts: pauses between attempts, addresses a server names, statistics, progress."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Callable

import pytest

from cluster.client import progress
from cluster.client.backoff import Attempts, Backoff
from cluster.client.errors import CallError, ConnectRejected, RtmpError, Timeout
from cluster.client.progress import Progress, told_if_slow
from cluster.client.statistics import WINDOW_S, StreamStatistics
from cluster.client.targets import resolve
from cluster.client.waiting import within
from cluster.core.errors import MisuseError
from cluster.core.message import Message, MessageType
from cluster.core.rtmp.server_session import SAMPLE_ACCESS
from cluster.core.rtmp.url import RtmpUrl, UrlError
from support.scripted_server import SEQUENCE_HEADER, audio_frame, inter_frame, key_frame, until

VIDEO, AUDIO = MessageType.VIDEO, MessageType.AUDIO


def test_pauses_grow_up_to_the_longest() -> None:
    attempts = Attempts(Backoff(first_s=1, max_s=5, jitter=0))
    assert [attempts.pause_s(0) for _ in range(5)] == [1, 2, 4, 5, 5]
    assert attempts.pause_s(4.9) == 5
    assert attempts.pause_s(5) == 1  # it held long enough to count as a success


def test_pauses_are_spread() -> None:
    attempts = Attempts(Backoff(first_s=1, max_s=1, jitter=0.5), random=random.Random(1))
    pauses = [attempts.pause_s(0) or 0 for _ in range(200)]
    assert 0.5 <= min(pauses) < 0.55
    assert 0.95 < max(pauses) <= 1


def test_attempts_run_out() -> None:
    attempts = Attempts(Backoff(first_s=1, jitter=0, attempts=3))
    assert [attempts.pause_s(0) for _ in range(3)] == [1, 2, None]


@pytest.mark.parametrize(
    "wrong", [{"first_s": 0}, {"first_s": 9, "max_s": 1}, {"factor": 0.5}, {"jitter": 2}]
)
def test_senseless_pauses_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(MisuseError):
        Backoff(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("tc_url", "expected"),
    [
        ("", "rtmp://u:***@h:1940/live/cam?k=1"),
        ("rtmp://other/app", "rtmp://u:***@other/app/cam?k=1"),
        ("rtmp://other/app/room", "rtmp://u:***@other/app/room/cam?k=1"),
        ("rtmp://other/app/cam", "rtmp://u:***@other/app/cam?k=1"),
        ("rtmp://other/app?vhost=x", "rtmp://u:***@other/app?vhost=x/cam?k=1"),
        ("rtmps://other:444/app/room?vhost=x", "rtmps://u:***@other:444/app/room?vhost=x/cam?k=1"),
        ("//other:1950/app", "rtmp://u:***@other:1950/app/cam?k=1"),
        ("/elsewhere", "rtmp://u:***@h:1940/elsewhere/cam?k=1"),
    ],
)
def test_addresses_a_server_names(tc_url: str, expected: str) -> None:
    resolved = resolve(RtmpUrl.parse("rtmp://u:p@h:1940/live/cam?k=1"), tc_url)
    assert str(resolved) == expected
    assert resolved.password == "p"


@pytest.mark.parametrize("tc_url", ["http://h/app", "rtmp://", "nonsense", "rtmp://h/app", "//h:0/app"])
def test_addresses_that_are_not_gone_to(tc_url: str) -> None:
    with pytest.raises(UrlError):
        resolve(RtmpUrl.parse("rtmps://h/live/cam"), tc_url)


def test_errors_say_what_there_is_to_say() -> None:
    assert str(CallError("", "")) == "the call failed: without a reason"
    assert str(ConnectRejected("A.B", "c")) == "the server rejected the connect: A.B: c"
    assert issubclass(Timeout, TimeoutError)
    assert issubclass(Timeout, RtmpError)


def test_a_timeout_of_the_body_is_not_taken_for_ours() -> None:
    async def raises() -> None:
        raise TimeoutError("inner")

    async def work() -> None:
        with pytest.raises(TimeoutError, match="inner") as caught:
            await within(5, "x", raises())
        assert not isinstance(caught.value, Timeout)
        assert await within(None, "x", asyncio.sleep(0, "done")) == "done"

    asyncio.run(work())


def test_statistics_of_an_even_stream_and_of_a_late_message() -> None:
    seen = StreamStatistics()
    assert seen.rates(1.0) == (0.0, 0.0)
    seen.add(Message(VIDEO, 0, SEQUENCE_HEADER), 100.0)
    for number in range(100):
        payload = key_frame(number, 984) if number % 50 == 0 else inter_frame(number, 984)
        seen.add(Message(VIDEO, 40 * number, payload), 100.0 + number * 0.04)
        seen.add(Message(AUDIO, 40 * number, audio_frame()), 100.0 + number * 0.04)
    assert (seen.video, seen.keyframes, seen.audio, seen.messages) == (100, 2, 100, 201)
    assert seen.delay_ms == pytest.approx(0, abs=0.01)
    assert seen.jitter_ms == pytest.approx(0, abs=0.01)
    kilobits, frames = seen.rates(104.0)
    assert frames == pytest.approx(25, abs=0.5)
    assert kilobits == pytest.approx(25 * 1012 * 8 / 1000, rel=0.02)
    seen.add(Message(VIDEO, 4000, inter_frame()), 104.3)
    assert seen.delay_ms == pytest.approx(300)
    assert seen.jitter_ms == pytest.approx(300 / 16)
    assert seen.rates(104.3 + WINDOW_S + 1) == (0.0, 0.0)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("make", [io.StringIO, _Terminal])
def test_progress_in_a_terminal_and_in_a_file(
    make: Callable[[], io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "TERMINAL_EVERY_S", 0.01)
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.01)
    output, seen = make(), StreamStatistics()

    async def work() -> None:
        async with Progress(seen, "from \x1b[31mhere", output=output) as shown:
            seen.add(Message(VIDEO, 0, key_frame()), asyncio.get_running_loop().time())
            await until(lambda: output.getvalue().count("kbit/s") >= 2, "two lines")
            shown.say("one line that stays")
            assert "1 keyframes" in shown.line(asyncio.get_running_loop().time())

    asyncio.run(work())
    text = output.getvalue()
    assert "from �[31mhere" in text
    if output.isatty():
        assert text.count("\n") == 2
        assert "\r\x1b[Kone line that stays\n\r\x1b[K" in text
        assert text.startswith("\r\x1b[K")
    else:
        assert "\none line that stays\n" in text
        assert "\r" not in text
        assert "\x1b" not in text
        last = "1 messages, 38 bytes in 0.0 s: 1 frames, 1 keyframes, 0 audio"
        assert text.splitlines()[-1].endswith(last)


def test_what_comes_before_the_first_frame_is_still_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.01)
    output, seen = io.StringIO(), StreamStatistics()

    async def work() -> None:
        now = asyncio.get_running_loop().time
        async with Progress(seen, "from here", question="is it published?", output=output) as shown:
            for message in (
                Message(MessageType.DATA_AMF0, 0, SAMPLE_ACCESS),
                Message(VIDEO, 0, SEQUENCE_HEADER),
            ):
                seen.add(message, now())
            await until(lambda: output.getvalue().count("\n") >= 3, "some lines")
            assert shown.line(now() + 7).startswith("waiting for the first frame, for 7 s now; ")
            seen.add(Message(VIDEO, 0, key_frame()), now())
            assert "1 frames" in shown.line(now())

    asyncio.run(work())
    lines = output.getvalue().splitlines()
    assert lines[0] == "from here: waiting for the first frame"
    assert lines[1] == "waiting for the first frame, for 0 s now; is it published?"
    assert lines[-1].startswith("from here: 3 messages, ")


def test_the_end_without_a_frame_says_so() -> None:
    output, seen = io.StringIO(), StreamStatistics()

    async def work() -> None:
        async with Progress(seen, "from here", output=output):
            seen.add(Message(MessageType.DATA_AMF0, 0, SAMPLE_ACCESS), asyncio.get_running_loop().time())

    asyncio.run(work())
    assert output.getvalue().splitlines()[-1] == "from here: no frame in 0.0 s"
    assert seen.elapsed_s == 0


def test_only_who_waits_long_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    async def work() -> None:
        async with told_if_slow("a moment"):
            pass
        monkeypatch.setattr(progress, "SLOW_S", 0.001)
        async with told_if_slow("still \x1b here"):
            await until(lambda: told.append(capsys.readouterr().err) or told[-1], "the line")

    asyncio.run(work())
    assert "".join(told) == "still \N{REPLACEMENT CHARACTER} here\n"
