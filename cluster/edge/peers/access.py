"""Who may publish and play what: the question, and the answers, in the words of every protocol.

Whoever decides is given an ``Access`` and says ``Allow`` or ``Deny``. It may take its time. Meanwhile the
session holds what the peer sends, others are served, and a peer that leaves is not answered any more.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

Action: TypeAlias = Literal["publish", "play"]
Spoken: TypeAlias = Literal["rtmp", "rtmps", "http", "https"]


@dataclass(frozen=True, slots=True)
class Access:
    """Somebody asks to publish or play ``key``.

    ``peer``: HOST:PORT, ``session``: the connection's id, which the cluster has once (``log_facts.who``).
    ``query`` stands behind the name of the stream, ``app_query`` behind the app or in the tcUrl; both as
    they came, without "?". ``proven_user``: who has shown in the dialogue of ``connect`` to know that
    user's password. ``authorization``: the header field of HTTP. ``agent``: what the peer calls itself.
    ``tc_url``, ``page_url``, ``swf_url``: what ``connect`` says, without queries. ``details``: further
    arguments of the command, ``type`` of publish, ``start``, ``duration`` and ``reset`` of play.
    """

    action: Action
    key: str
    peer: str
    spoken: Spoken
    session: str
    query: str = ""
    app_query: str = ""
    proven_user: str = ""
    authorization: str = ""
    agent: str = ""
    tc_url: str = ""
    page_url: str = ""
    swf_url: str = ""
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allow:
    """The answer yes.

    ``key``: the stream key to use in place of the one that was asked for. ``user``: who it is, for the log.
    ``ends_at``: when the session is to end, in seconds since 1970; None if it may go on.
    ``most_bytes_per_s``: of a publisher, over ten seconds; None if the limits of the key say it.
    ``is_for_all``: nothing had to be shown, and anybody else would be let in.
    """

    key: str | None = None
    user: str = ""
    ends_at: float | None = None
    most_bytes_per_s: int | None = None
    is_for_all: bool = False


class Refused(enum.StrEnum):
    """Why somebody is not let in. The names are those of the metrics and of the log."""

    #: It has shown nothing that could let it in; with something it might be.
    NO_CREDENTIALS = "no_credentials"
    #: What it has shown is wrong, or not good any more.
    BAD_CREDENTIALS = "bad_credentials"
    #: Nothing that it could show would let it in from where it is.
    FORBIDDEN = "forbidden"
    #: Whoever had to be asked has said no.
    HOOK_REFUSED = "hook_refused"
    #: Whoever had to be asked could not be, or was not in time.
    HOOK_FAILED = "hook_failed"


@dataclass(frozen=True, slots=True)
class Deny:
    """The answer no. A peer of RTMP is told ``code`` (empty: the usual one) and ``text``, and closed.

    ``text`` is for the peer and repeats nothing that it has sent. ``redirect``: the address that it
    should go to instead; of a ``connect`` the tcUrl. ``schemes``: those of HTTP's Authorization that could
    let it in, such as Basic and Bearer.
    """

    text: str
    code: str = ""
    redirect: str | None = None
    why: Refused = Refused.FORBIDDEN
    schemes: tuple[str, ...] = ()


Verdict: TypeAlias = Allow | Deny


class Later:
    """A verdict that takes its time: ``decide`` begins when somebody waits for it. Who leaves before leaves
    nothing behind; a coroutine would complain on stderr that nobody has."""

    __slots__ = ("_decide",)

    def __init__(self, decide: Callable[[], Awaitable[Verdict]]) -> None:
        self._decide = decide

    def __await__(self) -> Generator[Any, Any, Verdict]:
        return self._decide().__await__()


class Judge(Protocol):
    """Whoever decides for peers of every protocol. An exception denies: without an answer nobody may."""

    def judge(self, access: Access) -> Verdict | Awaitable[Verdict]:
        """The answer, if it is known at once; else what to wait for."""

    def challenge(
        self, app: str, query: str, *, publishes: bool, now_s: float
    ) -> tuple[str, str]:
        """What ``connect`` to ``app`` is to be rejected with, so that the peer shows who it is (Adobe's
        dialogue), and who it has shown to be. Both are empty for one who is to go on without.

        ``publishes``: the peer says so. ``now_s`` in seconds since 1970.
        """
