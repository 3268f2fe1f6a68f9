"""What may be asked of a worker through a router, and what it answers: values, and their JSON text.

A question is one of ``QUESTIONS``, an answer one of ``ANSWERS``. Both ends check each field by its type
before they believe it: in a cluster without a key, anybody can ask and answer.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
import typing
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from cluster.core.bus.bounds import MAX_ANSWER_BYTES, MAX_QUESTION_BYTES
from cluster.core.bus.trace import TraceRow
from cluster.core.errors import ClusterError

#: Rows of a page. A worker gives fewer if it has no time for so many.
MAX_PAGE_ROWS = 200


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
    fps: float = 0.0
    sample_rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class StreamRow:
    """A stream at one worker. ``epoch``: of the publisher that feeds it there, None if none has yet.
    ``session``: the number of the publisher's connection, 0 if it is not here. ``players`` by kind."""

    key: str
    epoch: int | None
    is_origin: bool
    session: int = 0
    peer: str = ""
    agent: str = ""
    tracks: tuple[TrackRow, ...] = ()
    keyframe_interval_ms: int = 0
    received_bytes: int = 0
    players: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StreamRows:
    """Streams that the worker knows, of the first ``looked_at`` keys: it had no time for more."""

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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Words:
    """What may be said in one direction, and how long it may be."""

    by_name: dict[str, type[Any]]
    max_bytes: int
    names: dict[type[Any], str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", {kind: name for name, kind in self.by_name.items()})

    def encode(self, value: Any) -> bytes:
        said = {self.names[type(value)]: value}
        text = json.dumps(said, default=_fields_of, separators=(",", ":"))
        if len(text) > self.max_bytes:
            raise QuestionError(f"{len(text)} bytes, and {self.max_bytes} are allowed")
        return text.encode()

    def decode(self, text: bytes) -> Any:
        if len(text) > self.max_bytes:
            raise QuestionError(f"{len(text)} bytes, and {self.max_bytes} are allowed")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError):
            raise QuestionError("no JSON") from None
        if type(said) is not dict or len(said) != 1:
            raise QuestionError("not one object")
        [(name, fields)] = said.items()
        if name not in self.by_name:
            raise QuestionError(f"{name[:40]!r} is not known")
        return read(self.by_name[name], fields)


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


def read(kind: type[T], value: Any) -> T:
    """``value``, as JSON has it, as a ``kind``: a dataclass of plain types. QuestionError if it is none.

    A field that is missing has its default; one that is not known is of a newer version, and ignored.
    """
    if type(value) is not dict:
        raise QuestionError(f"{kind.__name__} is no object")
    given: dict[str, Any] = {}
    for name, (hint, is_needed) in _fields(typing.cast(Any, kind)).items():
        if name in value:
            given[name] = _typed(hint, value[name], name)
        elif is_needed:
            raise QuestionError(f"{kind.__name__} has no {name}")
    return kind(**given)


@functools.cache
def _fields(kind: Hashable) -> dict[str, tuple[Any, bool]]:
    """The type of each field, and whether it has no default."""
    hints = typing.get_type_hints(kind)
    declared = dataclasses.fields(typing.cast(Any, kind))
    return {each.name: (hints[each.name], _is_needed(each)) for each in declared}


def _fields_of(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__match_args__}


def _is_needed(of: dataclasses.Field[Any]) -> bool:
    return of.default is dataclasses.MISSING and of.default_factory is dataclasses.MISSING


def _typed(hint: Any, value: Any, name: str) -> Any:
    if hint in (str, bool, int) and type(value) is hint:
        return value
    if hint is float and type(value) in (int, float):
        return float(value)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return read(hint, value)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:  # of one type and None
        return None if value is None else _typed(arguments[0], value, name)
    if origin is tuple and type(value) is list:
        return tuple(_typed(arguments[0], each, name) for each in value)
    if origin is dict and type(value) is dict:
        return {key: _typed(arguments[1], each, name) for key, each in value.items()}
    raise QuestionError(f"{name} is {type(value).__name__}")
