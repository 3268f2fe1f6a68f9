"""A question to the operator's program, and what comes back: the same for all dialects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cluster.edge.admission.credentials import PASSWORD, USER, Credentials
from cluster.edge.peers.access import Access
from cluster.process.stranger_lines import host_of


@dataclass(frozen=True, slots=True)
class Shown:
    """What somebody has shown to be let in; "" for what has not been. Nobody but the program is told."""

    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    def __bool__(self) -> bool:
        return bool(self.user or self.password or self.token)


def shown_by(access: Access) -> Shown:
    """The credentials. ``Unclear`` if they can be read in two ways: the program might take the other."""
    credentials = Credentials(access)

    def item(name: str) -> str:
        query = credentials.query_with(name)
        return "" if query is None else query.get(name)

    user, password = credentials.login() or (item(USER), item(PASSWORD))
    return Shown(user, password, credentials.token())


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. ``user``: who has been proven to ask already, "" if nobody has."""

    access: Access
    user: str = ""
    shown: Shown = field(default_factory=Shown)

    @property
    def app(self) -> str:
        """All of the key before its last slash."""
        return self.access.key.rpartition("/")[0]

    @property
    def name(self) -> str:
        """What stands behind the last slash of the key."""
        return self.access.key.rpartition("/")[2]

    @property
    def ip(self) -> str:
        return host_of(self.access.peer)

    @property
    def port(self) -> int:
        port = self.access.peer.rpartition(":")[2]
        return int(port) if port.isdecimal() else 0

    @property
    def query(self) -> str:
        """Both queries as one."""
        return "&".join(filter(None, (self.access.query, self.access.app_query)))

    @property
    def tc_url(self) -> str:
        """With the query that the peer has sent with the app or with it."""
        access = self.access
        return f"{access.tc_url}?{access.app_query}" if access.app_query else access.tc_url


@dataclass(frozen=True, slots=True)
class Written:
    """A question in some dialect: the body of a POST and its header fields."""

    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back. ``is_whole``: ``body`` is not just the beginning of more."""

    status: int
    body: bytes = field(default=b"", repr=False)
    is_whole: bool = True
    location: str = field(default="", repr=False)


class BadReply(Exception):
    """A reply that is no answer. The text says what is wrong with it, and repeats nothing of it."""
