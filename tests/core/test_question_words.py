"""Questions to workers and their answers: as text and back, and nothing else gets through."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.bus import questions
from cluster.core.bus.bounds import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES
from cluster.core.bus.questions import (
    AskSessions,
    AskStreams,
    AskSummary,
    AskTrace,
    Done,
    Drain,
    EndStream,
    Fault,
    Kick,
    QuestionError,
    Reload,
    SessionPage,
    SessionRow,
    StreamRow,
    StreamRows,
    Summary,
    TrackRow,
    Undrain,
    decode_answer,
    decode_question,
    decode_tracks,
    encode_answer,
    encode_question,
    encode_tracks,
)
from cluster.core.bus.trace import RouterWay, TraceRow

SESSION = SessionRow(
    7, "player", "rtmp", "live/\udce9", "127.0.0.1:9", "VLC", True, "playing", 1, 2, 3, 4, None, {"slow": 1}
)
STREAM = StreamRow(
    "live/a", 5, True, 7, "p", "a", "[]", 25.0, 2000, 9, {"rtmp": 3},
)  # fmt: skip
TRACK = TrackRow(0, "video", "avc1", "avc1.64", 640, 360)

WAY = RouterWay("tcp://r:1936", True, True, 1.5, -2.0, 3)

QUESTIONS: list[Any] = [
    AskSummary(), AskSessions(), AskSessions(5, 10, "live/*", "player", "rtmp", 3), AskStreams(("a", "b")),
    AskTrace("live/a"), Kick("x", 7), EndStream("y", "live/a", "because"), Drain("z", 2.5), Undrain("u"),
    Reload("r"),
]  # fmt: skip
ANSWERS: list[Any] = [
    Summary("1", 5, False, 1, 2, 3, 4, 5, 6, 7, 0.5, {"tcp://r:1936": "", "ipc:///x": None}, ("http://:80",)),
    SessionPage((SESSION,), 7), SessionPage((), None), StreamRows((STREAM,), 2), Done(True, "d"),
    Fault("f"), TraceRow(), TraceRow(True, 5, True, 1_000, 2, 0.5, ways=(WAY,)),
]  # fmt: skip


@pytest.mark.parametrize("question", QUESTIONS, ids=repr)
def test_a_question_is_what_it_was(question: Any) -> None:
    assert decode_question(encode_question(question)) == question


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda each: type(each).__name__)
def test_an_answer_is_what_it_was(answer: Any) -> None:
    assert decode_answer(encode_answer(answer)) == answer


def test_each_kind_is_tried() -> None:
    assert {type(each) for each in QUESTIONS} == set(questions.QUESTIONS.values())
    assert {type(each) for each in ANSWERS} == set(questions.ANSWERS.values())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 100_000, "100000 bytes"),
        (b"[" * 8_000, "no JSON"),
        (b"[]", "not one object"),
        (b"{}", "not one object"),
        (b'{"kick":{},"drain":{}}', "not one object"),
        (b'{"summary":[]}', "AskSummary is no object"),
        (b'{"what":{}}', "'what' is not known"),
        (b'{"kick":{"command":"x"}}', "Kick has no number"),
        (b'{"kick":{"command":"x","number":true}}', "number is bool"),
        (b'{"kick":{"command":1,"number":1}}', "command is int"),
        (b'{"streams":{"keys":"a"}}', "keys is str"),
        (b'{"streams":{"keys":[1]}}', "keys is int"),
        (b'{"drain":{"command":"x","deadline_s":"1"}}', "deadline_s is str"),
        (b'{"drain":{"command":"x","deadline_s":1' + b"0" * 400 + b"}}", "deadline_s is too large"),
    ],
)
def test_what_is_no_question_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(QuestionError, match=why):
        decode_question(text)


def test_a_number_may_be_whole_where_it_need_not() -> None:
    assert decode_question(b'{"drain":{"command":"x","deadline_s":3}}') == Drain("x", 3.0)


def test_what_is_left_out_is_as_by_default() -> None:
    assert decode_question(b'{"sessions":{"limit":3}}') == AskSessions(limit=3)


def test_what_a_newer_version_adds_is_ignored() -> None:
    assert decode_question(b'{"summary":{"more":1}}') == AskSummary()


@pytest.mark.parametrize(
    "text", [b'{"sessions":{"rows":[{}],"after":null}}', b'{"summary":{"version":"1"}}',
             b'{"sessions":{"rows":{},"after":1}}', b'{"streams":{"rows":[{"key":"a"}],"looked_at":1}}',
             b'{"sessions":{"rows":[],"after":1.5}}', b'{"streams":{"rows":[1],"looked_at":1}}',
             b'{"streams":{"rows":[{"key":"a","epoch":null,"is_origin":1}],"looked_at":1}}'],
)  # fmt: skip
def test_what_is_no_answer_is_refused(text: bytes) -> None:
    with pytest.raises(QuestionError):
        decode_answer(text)


def test_dictionaries_are_looked_into() -> None:
    said = json.loads(encode_answer(ANSWERS[0]))
    said["summary"]["routers"] = {"tcp://r:1": 5}
    with pytest.raises(QuestionError, match="routers is int"):
        decode_answer(json.dumps(said).encode())
    said["summary"]["routers"] = []
    with pytest.raises(QuestionError, match="routers is list"):
        decode_answer(json.dumps(said).encode())


def test_what_is_too_long_is_neither_said_nor_heard() -> None:
    empty = len(encode_question(Kick("", 1)))
    longest = Kick("x" * (MAX_QUESTION_BYTES - empty), 1)
    assert decode_question(encode_question(longest)) == longest
    longer = dataclasses.replace(longest, command=longest.command + "x")
    with pytest.raises(QuestionError, match="are allowed"):
        encode_question(longer)
    with pytest.raises(QuestionError, match="are allowed"):
        decode_answer(b" " * (MAX_ANSWER_BYTES + 1))


def test_a_page_of_the_longest_rows_fits() -> None:
    long = dataclasses.replace(SESSION, key="\udce9" * 300, peer="[" + "f" * 45 + "]:65535", agent="x" * 80)
    assert len(encode_answer(SessionPage((long,) * questions.MAX_PAGE_ROWS, 1))) <= MAX_ANSWER_BYTES


def test_tracks_are_what_they_were() -> None:
    tracks = (TRACK, TrackRow(1, "audio", "mp4a", sample_rate=48_000, channels=2))
    assert decode_tracks(encode_tracks(tracks)) == tracks
    assert decode_tracks(encode_tracks(())) == ()
    most = (TRACK,) * questions.MAX_TRACKS
    assert decode_tracks(encode_tracks(most)) == most
    assert decode_tracks(encode_tracks((*most, TRACK))) == most


@pytest.mark.parametrize(
    ("text", "why"),
    [("", "no JSON"), ("{}", "it is dict"), ("[1]", "TrackRow is no object"), ("[{}]", "no number"),
     ('[{"number":0,"kind":"video","codec":7}]', "codec is int")],
)  # fmt: skip
def test_what_are_no_tracks_is_refused(text: str, why: str) -> None:
    with pytest.raises(QuestionError, match=why):
        decode_tracks(text)


def test_tracks_of_which_too_much_is_said_are_not_read() -> None:
    longest = "[]" + " " * (questions.MAX_TRACKS_CHARACTERS - 2)
    assert decode_tracks(longest) == ()
    with pytest.raises(QuestionError, match="are allowed"):
        decode_tracks(longest + " ")


def test_a_page_of_the_longest_streams_fits() -> None:
    """With as many tracks as are told of, and keys that fit into one question."""
    track = TrackRow(10**9, "video", "\\x00" * 4, "c" * 40, 65_535, 65_535, 10**9, 10**9)
    tracks = encode_tracks((track,) * questions.MAX_TRACKS)
    assert len(tracks) <= questions.MAX_TRACKS_CHARACTERS
    players = dict.fromkeys(("rtmp", "flv", "ws_flv", "mp4", "ws_mp4", "paused"), 10**6)
    key = "\udce9" * (MAX_QUESTION_BYTES // questions.MAX_PAGE_STREAMS // 6)
    peer = "[" + "f" * 45 + "]:65535"
    long = StreamRow(
        key, 2**63, True, 10**9, peer, "\x00" * 80, tracks, 999.99, 10**9, 2**63, players
    )
    rows = StreamRows((long,) * questions.MAX_PAGE_STREAMS, questions.MAX_PAGE_STREAMS)
    assert len(encode_answer(rows)) <= MAX_ANSWER_BYTES


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from([*questions.ANSWERS, "rows", "after", "routers"]), inner, max_size=3),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_any_text_is_an_answer_or_refused(text: bytes) -> None:
    try:
        answer = decode_answer(text)
    except QuestionError:
        return
    assert type(answer) in questions.ANSWERS.values()
