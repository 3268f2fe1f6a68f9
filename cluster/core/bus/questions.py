"""What may be asked of a worker through a router, and what it answers: values, and their JSON text.

A question is one of ``QUESTIONS``, an answer one of ``ANSWERS``. Both ends check each field by its type
before they believe it: in a cluster without a key, anybody can ask and answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cluster.core.bus import json_text
from cluster.core.bus.bounds import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES
from cluster.core.bus.json_text import JsonError
from cluster.core.bus.trace import TraceRow
from cluster.core.errors import ClusterError

#: Rows of a page. A worker gives fewer if it has no time for so many.
MAX_PAGE_ROWS = 200
#: Streams that a worker tells of in one answer.
MAX_PAGE_STREAMS = 80
#: Tracks of a stream that are told of, and the longest text that they make.
MAX_TRACKS = 16
MAX_TRACKS_CHARACTERS = 4 * 1024


class QuestionError(ClusterError):
    """Text that is no question, or no answer."""


# ---- what is asked ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AskSummary:
    """How is the worker? Answered by a Summary."""


@dataclass(frozen=True, slots=True)
class AskSessions:
    """The sessions with a number above ``after``, in order; empty filters let all pass.

    ``key`` with ``*`` at its end means all keys that begin so. ``number``: that one alone; 0 is any.
    Answered by a SessionPage.
    """

    after: int = 0
    limit: int = MAX_PAGE_ROWS
    key: str = ""
    role: str = ""
    kind: str = ""
    number: int = 0


@dataclass(frozen=True, slots=True)
class AskStreams:
    """What the worker knows of these stream keys. Answered by a StreamRows."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskTrace:
    """What the worker knows of the way of this stream. Answered by a TraceRow."""

    key: str


@dataclass(frozen=True, slots=True)
class Kick:
    """End the session with this number. ``command`` names the order: the same under the same name does
    nothing, and is answered as the first was. Answered by a Done, as all that follow."""

    command: str
    number: int
    why: str = ""


@dataclass(frozen=True, slots=True)
class EndStream:
    """Take the stream from the publisher that it has at this worker."""

    command: str
    key: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Drain:
    """Take the worker's node out of service: no new connections, and whoever is there is asked to go;
    whoever is left after so many seconds is told to."""

    command: str
    deadline_s: float


@dataclass(frozen=True, slots=True)
class Undrain:
    """Take the node into service again."""

    command: str


@dataclass(frozen=True, slots=True)
class Reload:
    """Let the node read its configuration again, as SIGHUP does."""

    command: str


Question: TypeAlias = (
    AskSummary | AskSessions | AskStreams | AskTrace | Kick | EndStream | Drain | Undrain | Reload
)
#: By the name that says on the wire which one it is.
QUESTIONS: dict[str, type[Any]] = {
    "summary": AskSummary, "sessions": AskSessions, "streams": AskStreams, "trace": AskTrace,
    "kick": Kick,
    "end_stream": EndStream, "drain": Drain, "undrain": Undrain, "reload": Reload,
}  # fmt: skip

# ---- what is answered ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Summary:
    """A worker. ``routers``: what is wrong with each router of the cluster, "" if nothing is, None if
    that is not known yet."""

    version: str
    age_ms: int
    draining: bool
    connections: int = 0
    publishers: int = 0
    players: int = 0
    streams: int = 0
    received_bytes: int = 0
    sent_bytes: int = 0
    memory_bytes: int = 0
    cpu_s: float = 0.0
    routers: dict[str, str | None] = field(default_factory=dict)
    #: Where its node serves HTTP, as it was told to: a host may be missing or mean all.
    http_urls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One connection. ``kind``: what it is served as (rtmp, flv, ws_flv, mp4, hls, http). ``delay_ms``: how
    far behind live it is sent; ``dropped``: messages not passed on, by reason."""

    number: int
    role: str
    kind: str
    key: str
    peer: str
    agent: str
    is_secure: bool = False
    state: str = ""
    age_ms: int = 0
    delay_ms: int = 0
    queue_bytes: int = 0
    received_bytes: int = 0
    sent_bytes: int | None = None
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SessionPage:
    """Some of the sessions; with ``after`` one asks for more, None if there are none."""

    rows: tuple[SessionRow, ...]
    after: int | None


@dataclass(frozen=True, slots=True)
class TrackRow:
    """One track as its headers say it; 0 is not known, or not of this medium."""

    number: int
    kind: str
    codec: str
    profile: str = ""
    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream at one worker. ``epoch``: of the publisher that feeds it there, None if none has yet.
    ``session``: the number of the publisher's connection, 0 if it is not here. ``tracks``: the text of its
    tracks (``encode_tracks``), which both ends need to make and read once alone; "" at all but the origin.
    ``players`` by kind."""

    key: str
    epoch: int | None
    is_origin: bool
    session: int = 0
    peer: str = ""
    agent: str = ""
    tracks: str = ""
    fps: float = 0.0
    keyframe_interval_ms: int = 0
    received_bytes: int = 0
    players: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamRows:
    """Streams that the worker knows, of the first ``looked_at`` keys: it had no time, or room, for more."""

    rows: tuple[StreamRow, ...]
    looked_at: int


@dataclass(frozen=True, slots=True)
class Done:
    """What has become of an order. ``is_found``: what it was about was there."""

    is_found: bool
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """The question was not understood, or could not be answered."""

    detail: str


Answer: TypeAlias = Summary | SessionPage | StreamRows | TraceRow | Done | Fault
ANSWERS: dict[str, type[Any]] = {
    "summary": Summary, "sessions": SessionPage, "streams": StreamRows, "trace": TraceRow,
    "done": Done, "fault": Fault,
}  # fmt: skip

# ---- as text ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Words:
    """What may be said in one direction, and how long it may be."""

    by_name: dict[str, type[Any]]
    max_bytes: int
    names: dict[type[Any], str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", {kind: name for name, kind in self.by_name.items()})

    def encode(self, value: Any) -> bytes:
        text = json_text.write({self.names[type(value)]: value})
        if len(text) > self.max_bytes:
            raise QuestionError(f"{len(text)} bytes, and {self.max_bytes} are allowed")
        return text.encode()

    def decode(self, text: bytes) -> Any:
        if len(text) > self.max_bytes:
            raise QuestionError(f"{len(text)} bytes, and {self.max_bytes} are allowed")
        try:
            said = json_text.parsed(text)
            if type(said) is not dict or len(said) != 1:
                raise QuestionError("not one object")
            [(name, fields)] = said.items()
            if name not in self.by_name:
                raise QuestionError(f"{name[:40]!r} is not known")
            return json_text.typed(self.by_name[name], fields)
        except JsonError as error:
            raise QuestionError(str(error)) from None


_QUESTIONS = _Words(QUESTIONS, MAX_QUESTION_BYTES)
_ANSWERS = _Words(ANSWERS, MAX_ANSWER_BYTES)


def encode_question(question: Question) -> bytes:
    """``question`` as text; QuestionError if it is too long."""
    return _QUESTIONS.encode(question)


def decode_question(text: bytes) -> Question:
    """The question in ``text``; QuestionError on anything else."""
    question: Question = _QUESTIONS.decode(text)
    return question


def encode_answer(answer: Answer) -> bytes:
    """``answer`` as text; QuestionError if it is too long."""
    return _ANSWERS.encode(answer)


def decode_answer(text: bytes) -> Answer:
    """The answer in ``text``; QuestionError on anything else."""
    answer: Answer = _ANSWERS.decode(text)
    return answer


def encode_tracks(tracks: Sequence[TrackRow]) -> str:
    """``tracks`` as text, but for those that are too many."""
    return json_text.write(tracks[:MAX_TRACKS])


def decode_tracks(text: str) -> tuple[TrackRow, ...]:
    """The tracks in ``text``; QuestionError on anything else."""
    if len(text) > MAX_TRACKS_CHARACTERS:
        raise QuestionError(f"{len(text)} characters, and {MAX_TRACKS_CHARACTERS} are allowed")
    try:
        return json_text.typed(tuple[TrackRow, ...], json_text.parsed(text))
    except JsonError as error:
        raise QuestionError(str(error)) from None
