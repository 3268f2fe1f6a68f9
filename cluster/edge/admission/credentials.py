"""What a peer shows of itself: in the queries of its addresses, and in the header field of HTTP.

Several places may hold something. One kind of credential (a user with a password, a token, a signature)
is taken whole from the first place that has it: the query of the name, then that of the app or tcUrl, then
``Authorization``. Encoders add items of their own (OBS's clientConfigId), so the order of items and those
that nobody asks for mean nothing.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import unquote

from cluster.edge.peers.access import Access

#: An RS256 token of Keycloak takes 2 KiB, and FFmpeg's tcUrl takes no more than 1 KiB.
MAX_QUERY_CHARACTERS: Final = 8_192
#: Real ones have a dozen. Thousands of short ones would take ten milliseconds to read, for each request.
MAX_QUERY_ITEMS: Final = 64

USER, PASSWORD = "user", "pass"
#: In the order in which they are looked for.
TOKENS: Final = ("token", "jwt")
#: Where the secret of --publish-key may stand.
KEYS: Final = ("key", PASSWORD, *TOKENS)


class Unclear(Exception):
    """What is shown can be read in two ways, or is too long to be read. The text is for the peer."""


class Query:
    """The items of one query, percent-decoded; a plus stands for itself, as encoders and base64 mean it.

    An item that is there twice with two values is refused when it is asked for: whoever else reads the
    query, such as a hook, might take the other one, and so decide about somebody else.
    """

    __slots__ = ("_items",)

    def __init__(self, text: str) -> None:
        if len(text) > MAX_QUERY_CHARACTERS:
            raise Unclear(f"the query is longer than {MAX_QUERY_CHARACTERS} characters")
        if text.count("&") >= MAX_QUERY_ITEMS:
            raise Unclear(f"the query has more than {MAX_QUERY_ITEMS} items")
        self._items: dict[str, str | None] = {}
        for item in text.split("&"):
            name, mark, value = item.partition("=")
            if mark:
                name, value = _decoded(name), _decoded(value)
                if self._items.setdefault(name, value) != value:
                    self._items[name] = None

    def __contains__(self, name: str) -> bool:
        return name in self._items

    def get(self, name: str) -> str:
        """The value of an item, "" if there is none; Unclear if there are two."""
        value = self._items.get(name, "")
        if value is None:
            raise Unclear(f"{name}= stands twice in the query")
        return value


def _decoded(text: str) -> str:
    # What is no UTF-8 stays told apart; nothing equals it by being replaced.
    return unquote(text, errors="surrogateescape") if "%" in text else text


class Credentials:
    """All that a peer shows. Unclear is raised by what is asked for, and by nothing else."""

    def __init__(self, access: Access) -> None:
        texts = (access.query, access.app_query)
        self._queries = [Query(text) for text in texts if text]
        scheme, _, value = access.authorization.partition(" ")
        self._scheme, self._value = scheme.lower(), value.strip()

    def query_with(self, *names: str) -> Query | None:
        """The first query that has all these items."""
        return next((each for each in self._queries if all(name in each for name in names)), None)

    def login(self) -> tuple[str, str] | None:
        """User and password. The dialogue of connect leaves a user without one, which is none."""
        query = self.query_with(USER, PASSWORD)
        return self._basic() if query is None else (query.get(USER), query.get(PASSWORD))

    def token(self) -> str:
        """The token, "" if there is none."""
        for query in self._queries:
            for name in TOKENS:
                if name in query:
                    return query.get(name)
        return self._value if self._scheme == "bearer" else ""

    def secrets(self) -> list[str]:
        """All that may be meant as the one secret of ``--publish-key``."""
        found = [query.get(name) for query in self._queries for name in KEYS if name in query]
        if (basic := self._basic()) is not None:
            found.append(basic[1])
        if self._scheme == "bearer":
            found.append(self._value)
        return found

    def _basic(self) -> tuple[str, str] | None:
        if self._scheme != "basic":
            return None
        try:
            text = base64.b64decode(self._value, validate=True).decode("utf-8", "surrogateescape")
        except (binascii.Error, ValueError):
            raise Unclear("Authorization: Basic is not base64") from None
        user, mark, password = text.partition(":")
        return (user, password) if mark else None
