"""Asks the API of a running edge or router, for the commands that operate a cluster."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from cluster.api.guard import read_tokens
from cluster.core.errors import ClusterError, EnvironmentFault
from cluster.process import running
from cluster.process.words import reason_of

#: The API answers within a second; a network may be slow.
_TIMEOUT_S = 10.0


class ApiRefused(ClusterError):
    """The API has answered with a problem: its words."""


@dataclass(frozen=True, slots=True)
class Api:
    """Where it is: an address up to the path, and a token, "" for none."""

    url: str
    token: str = ""

    def get(self, path: str, **query: str | int) -> Any:
        """The answer to a question; EnvironmentFault if there is none, ApiRefused if it is a problem."""
        return self.ask("GET", path, query)

    def items(self, path: str, **query: str | int) -> Iterator[Any]:
        """The answers page by page; each has its ``items``."""
        cursor = ""
        while True:
            page = self.get(path, **query, **({"cursor": cursor} if cursor else {}))
            yield page
            cursor = page.get("next") or ""
            if not cursor:
                return

    def ask(self, method: str, path: str, query: Mapping[str, str | int], body: Any = None) -> Any:
        """The same, with any method."""
        import http.client  # 1 MiB, of which edges and routers have no use

        kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = None if body is None else json.dumps(body)
        if data is not None:
            headers["Content-Type"] = "application/json"
        try:
            parts = urlsplit(self.url)
            connection = kinds[parts.scheme](parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
            asked = f"{parts.path.rstrip('/')}{path}" + (f"?{urlencode(query)}" if query else "")
            connection.request(method, asked, data, headers)
            response = connection.getresponse()
            said = json.loads(response.read(), object_hook=lambda fields: _Said(self.url, fields))
            connection.close()
        except OSError as error:
            why = getattr(error, "reason", None) or reason_of(error)  # that of TLS has its own numbers
            raise EnvironmentFault(f"{self.url} does not answer: {why} (--api)") from None
        except (LookupError, ValueError, RecursionError, http.client.HTTPException):
            raise _no_api(self.url) from None
        if not isinstance(said, _Said):
            raise _no_api(self.url)
        if response.status == 401:
            wrong = "this token is not good" if self.token else "it wants a token"
            raise ApiRefused(f"{self.url}: {wrong} (--api-token FILE)")
        if response.status >= 400:
            raise ApiRefused(str(said.get("detail", response.reason)))
        return said


class _Said(dict[str, Any]):
    """An object in an answer. What the API always says and this has not shows that it is another's."""

    def __init__(self, url: str, fields: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self._url = url

    def __missing__(self, name: str) -> Any:
        raise _no_api(self._url)


def _no_api(url: str) -> EnvironmentFault:
    return EnvironmentFault(f"{url} is not the API of an edge or router (--api)")


def found(url: str | None, token_file: Path | None) -> Api:
    """That at ``url``, or with none that of what runs on this host. EnvironmentFault if nothing does."""
    tokens = None if token_file is None else read_tokens(token_file)
    if url is not None:
        return Api(url if "://" in url else f"http://{url}", tokens[0] if tokens else "")
    for note in running.found():
        if note.api:
            if tokens is None and note.api_token is not None:
                tokens = read_tokens(Path(note.api_token))
            return Api(note.api, tokens[0] if tokens else "")
    raise EnvironmentFault(
        "no edge or router with an API is known to run on this host: start one with --api 127.0.0.1:9997, "
        "or name that of another with --api http://HOST:9997"
    )


def in_path(text: str) -> str:
    """``text`` as one part of a path."""
    return quote(text.encode("utf-8", "surrogateescape"), safe="")
