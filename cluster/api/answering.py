"""Requests and answers of the API: what is given is checked, and what comes back is JSON."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from cluster.api.dashboard import is_of_dashboard
from cluster.api.guard import Asker, Denied, Tokens, check
from cluster.api.handlers import Handlers, Refused
from cluster.api.operations import OPERATIONS, Operation, argument
from cluster.api.resources import DrainOrder, JsonText, Problem
from cluster.core.bus import json_text

logger = logging.getLogger(__name__)

#: A longer body of a request is refused.
MAX_BODY_BYTES = 16 * 1024
#: Requests that are worked on at once; one more is refused.
MAX_REQUESTS_AT_ONCE = 64
#: A body that takes longer to come is not waited for.
BODY_TIMEOUT_S = 5.0

#: A process that has much to answer lives: who asks for its health is answered beside all others.
_HEALTH = ("/livez", "/readyz")

_NOWHERE = "nothing is there: /v1/openapi.json says what can be asked"

_TITLES = {
    400: "Bad request", 401: "Unauthorized", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    408: "Request timeout", 409: "Conflict", 413: "Content too large", 415: "Unsupported media type",
    500: "Internal error", 503: "Too busy", 504: "No answer in time",
}  # fmt: skip


def answer(value: object) -> web.Response:
    text = value.text if isinstance(value, JsonText) else json_text.write(value)
    return web.Response(
        text=text, content_type="application/json", headers={"Cache-Control": "no-store"}
    )


def problem(status: int, detail: str, **headers: str) -> web.Response:
    """What is wrong (RFC 9457)."""
    text = json_text.write(Problem(_TITLES.get(status, "Error"), status, detail))
    shown = {"Cache-Control": "no-store", **headers}
    if status == 401:
        shown["WWW-Authenticate"] = 'Bearer realm="rtmp-cluster"'
    return web.Response(
        text=text, status=status, content_type="application/problem+json", headers=shown
    )


@contextmanager
def said_order(name: str, request: web.Request) -> Iterator[None]:
    """The body gives an order: it is logged if it was carried out, or may have been."""

    def say(more: str) -> None:
        logger.info(
            "%(operation)s by %(peer)s: %(what)s%(more)s",
            {"operation": name, "peer": request.remote, "what": request.rel_url.path, "more": more},
            extra={"event": "api_order"},
        )  # fmt: skip

    try:
        yield
    except Refused as error:
        if error.status == 504:
            say(f" ({error.detail})")
        raise
    say("")


class Answering:
    """Answers the operations of the table, for who may ask."""

    def __init__(self, handlers: Handlers, tokens: Tokens) -> None:
        self._handlers = handlers
        self._tokens = tokens
        #: The connections whose requests are worked on.
        self.at_work: set[object] = set()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """One for each operation."""
        for operation in OPERATIONS:
            # A key has slashes, which need not be escaped, but for that of a last part that is a trace's.
            ends = operation.path.endswith("{key}")
            path = operation.path.replace("{key}", "{key:.+(?<!/trace)}" if ends else "{key:.+}")
            handler = self._handler(operation)
            if operation.is_order:
                router.add_route(operation.method, path, handler)
            else:
                router.add_get(path, handler)  # HEAD too

    def _handler(self, operation: Operation) -> Any:
        async def handle(request: web.Request) -> web.Response:
            arguments = self._arguments(operation, request)
            if operation.body is not None:
                arguments["body"] = await _body(request)
            with said_order(operation.name, request) if operation.is_order else nullcontext():
                return answer(await operation.handler(self._handlers, arguments))

        return handle

    @staticmethod
    def _arguments(operation: Operation, request: web.Request) -> dict[str, Any]:
        known = {each.name for each in operation.parameters if each.place == "query"}
        for name in request.query:
            if name not in known:
                raise Refused(400, f"there is no parameter {name[:40]}")
            if len(request.query.getall(name)) > 1:
                raise Refused(400, f"{name} is given twice")
        path = dict(request.match_info)
        if "key" in path:  # its bytes need not be UTF-8
            before, _, after = operation.path.partition("{key}")
            raw = request.rel_url.raw_path.removeprefix(before).removesuffix(after)
            path["key"] = unquote(raw, errors="surrogateescape")
        given: dict[str, Mapping[str, str]]
        given = {"path": path, "query": request.query, "header": request.headers}
        return {
            each.name: argument(each, given[each.place][each.name])
            if each.name in given[each.place] else each.default
            for each in operation.parameters
        }  # fmt: skip

    @web.middleware
    async def around(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Around every request: whether it may be asked, and that each fault is a problem of one form."""
        if len(self.at_work) >= MAX_REQUESTS_AT_ONCE and request.path not in _HEALTH:
            return problem(503, "too many requests at once; try again")
        self.at_work.add(request.protocol)
        try:
            if not self._is_open(request.path):
                self._check(request)
            response: web.StreamResponse = await handler(request)
            return response
        except (Refused, Denied) as error:
            return problem(error.status, error.detail)
        except web.HTTPException as error:
            allowed = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
            # What is not there is refused by name: so nothing has a path like this.
            text = _NOWHERE if error.status == 404 else error.reason
            return problem(error.status, text, **allowed)
        except Exception:
            logger.exception("a request failed", extra={"event": "api_failed"})
            return problem(500, "this is a fault of the server; its log says more")
        finally:
            self.at_work.discard(request.protocol)

    def _is_open(self, path: str) -> bool:
        """Health is told to whoever asks. So is the dashboard's page shown where it is of no use without a
        token, for which it asks itself."""
        return path in _HEALTH or (bool(self._tokens) and is_of_dashboard(path))

    def _check(self, request: web.Request) -> None:
        headers = request.headers
        asker = Asker(
            request.remote or "", headers.get("Host", ""), headers.get("Origin"),
            headers.get("Authorization", ""),
        )  # fmt: skip
        check(self._tokens, asker, is_order=request.method not in ("GET", "HEAD"))


async def _body(request: web.Request) -> DrainOrder:
    """The body of a drain, which may be left out."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            data = await request.read()
    except TimeoutError:
        raise Refused(408, f"the body has not come within {BODY_TIMEOUT_S:g} s") from None
    except (web.RequestPayloadError, ConnectionError):  # no gzip though it says so, or its peer has gone
        raise Refused(400, "the body cannot be read") from None
    if not data:
        return DrainOrder()
    if request.content_type != "application/json":
        raise Refused(415, "the body is to be application/json")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is no JSON") from None
    if type(said) is not dict or not said.keys() <= {"deadline_s"}:
        raise Refused(400, 'the body is to be {"deadline_s": SECONDS}')
    deadline_s = said.get("deadline_s", DrainOrder().deadline_s)
    if type(deadline_s) not in (int, float) or not 0 <= deadline_s <= 86_400:
        raise Refused(400, "deadline_s is to be from 0 to 86400")
    return DrainOrder(float(deadline_s))
