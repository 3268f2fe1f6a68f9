"""What can be asked over HTTP: each operation is declared once, with what it takes and answers.

From this table follow the routes, the checks of what is given, and the OpenAPI document.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.api import resources
from cluster.api.handlers import Handlers, Refused
from cluster.core.keys import MAX_KEY_BYTES

Schema = Mapping[str, Any]
#: Does what is asked with the arguments by name, and returns the answer: a value of the declared type.
Handler = Callable[[Handlers, dict[str, Any]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Parameter:
    """``place``: "path", "query" or "header". Without ``default`` it must be given."""

    name: str
    place: str
    schema: Schema
    text: str
    default: Any = None


@dataclass(frozen=True, slots=True)
class Operation:
    """``problems``: the status codes that it may answer with, besides those that all may."""

    method: str
    path: str
    name: str
    text: str
    answer: type
    handler: Handler
    parameters: tuple[Parameter, ...] = ()
    body: type | None = None
    problems: tuple[int, ...] = field(default=())

    @property
    def is_order(self) -> bool:
        """It changes something: not for who may only read."""
        return self.method != "GET"


_WORD: Schema = {"type": "string", "maxLength": 200, "pattern": r"^[^\x00-\x1f]*$"}
_KEY: Schema = {"type": "string", "maxLength": MAX_KEY_BYTES, "pattern": r"^[^\x00-\x1f]*$"}
_FULL_KEY: Schema = {**_KEY, "minLength": 1}
_NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 200, "pattern": r"^[^\x00-\x1f]+$"}

_LIMIT = Parameter(
    "limit", "query", {"type": "integer", "minimum": 1, "maximum": 1000}, "Items of a page, at most.", 100
)
_CURSOR = Parameter(
    "cursor", "query", {"type": "string", "maxLength": 4000, "pattern": "^[A-Za-z0-9_-]*$"},
    "`next` of the page before.", "",
)  # fmt: skip
_NODE = Parameter("node", "query", _WORD, "Those of this node: its name or its id.", "")
_KEYS = Parameter("key", "query", _KEY, "This stream key; with `*` at its end, all that begin so.", "")
_ROLES: Schema = {"type": "string", "enum": ["", "publisher", "player"]}
_ROLE = Parameter("role", "query", _ROLES, "This role.", "")
_KINDS: Schema = {
    "type": "string", "enum": ["", "rtmp", "flv", "ws_flv", "mp4", "ws_mp4", "hls", "http"]
}  # fmt: skip
_KIND = Parameter("kind", "query", _KINDS, "What it is served as.", "")
_WHY = Parameter("why", "query", _WORD, "A reason, for logs and for the peer.", "")
_ORDER = Parameter(
    "Idempotency-Key", "header", {"type": "string", "maxLength": 64, "pattern": "^[!-~]*$"},
    "A name of the order: given twice, it is carried out once.", "",
)  # fmt: skip
_THIS_NODE = Parameter("node", "path", _NAME, "Its id, or its name if no other node has it.")
_THIS_KEY = Parameter("key", "path", _FULL_KEY, "The stream key; slashes may stay as they are.")
_THIS_SESSION = Parameter("session", "path", _NAME, "The id of the session.")
_CLOSED = Parameter(
    "closed_s", "query", {"type": "integer", "minimum": 0, "maximum": 604800},
    "Nobody may publish the key for so long; 0 opens a key that was closed.", 10,
)  # fmt: skip
_AFTER = Parameter(
    "after", "query", {"type": "integer", "minimum": 0, "maximum": 2**53}, "The number of the last seen.", 0
)

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "GET", "/v1/cluster", "getCluster", "The whole cluster in numbers", resources.Cluster,
        Handlers.cluster,
    ),
    Operation("GET", "/v1/routers", "listRouters", "The routers", resources.RouterList, Handlers.routers),
    Operation(
        "GET", "/v1/nodes", "listNodes", "The nodes and their workers", resources.NodeList, Handlers.nodes,
        (_NODE,),
    ),
    Operation(
        "GET", "/v1/nodes/{node}", "getNode", "One node", resources.Node, Handlers.node, (_THIS_NODE,),
        problems=(404, 409),
    ),
    Operation(
        "GET", "/v1/streams", "listStreams", "The streams that are published", resources.StreamList,
        Handlers.streams, (_KEYS, _NODE, _LIMIT, _CURSOR), problems=(404,),
    ),
    Operation(
        "GET", "/v1/streams/{key}/trace", "traceStream", "The way of one stream, hop by hop",
        resources.Trace, Handlers.trace, (_THIS_KEY,), problems=(404,),
    ),
    Operation(
        "GET", "/v1/streams/{key}", "getStream", "One stream", resources.Stream, Handlers.stream,
        (_THIS_KEY,), problems=(404,),
    ),
    Operation(
        "DELETE", "/v1/streams/{key}", "endStream",
        "Take a stream from its publisher, and keep its key closed for a while", resources.Done,
        Handlers.end_stream, (_THIS_KEY, _CLOSED, _WHY, _ORDER), problems=(504,),
    ),
    Operation(
        "GET", "/v1/sessions", "listSessions", "The connections of peers", resources.SessionList,
        Handlers.sessions, (_KEYS, _NODE, _ROLE, _KIND, _LIMIT, _CURSOR), problems=(404,),
    ),
    Operation(
        "GET", "/v1/sessions/{session}", "getSession", "One connection", resources.Session,
        Handlers.session, (_THIS_SESSION,), problems=(404, 504),
    ),
    Operation(
        "DELETE", "/v1/sessions/{session}", "kickSession", "End a connection", resources.Done,
        Handlers.kick, (_THIS_SESSION, _WHY, _ORDER), problems=(404, 504),
    ),
    Operation(
        "GET", "/v1/routes", "listRoutes", "Which node has which stream from where", resources.RouteList,
        Handlers.routes, (_KEYS, _NODE, _LIMIT, _CURSOR), problems=(404,),
    ),
    Operation(
        "GET", "/v1/events", "listEvents", "What has happened in the cluster lately", resources.EventList,
        Handlers.events, (_AFTER,),
    ),
    Operation(
        "POST", "/v1/nodes/{node}/drain", "drainNode",
        "Take a node out of service: it accepts nobody, its sessions are asked to go", resources.Done,
        Handlers.drain, (_THIS_NODE, _ORDER), resources.DrainOrder, problems=(404, 409, 504),
    ),
    Operation(
        "POST", "/v1/nodes/{node}/undrain", "undrainNode", "Take it into service again", resources.Done,
        Handlers.undrain, (_THIS_NODE, _ORDER), problems=(404, 409, 504),
    ),
    Operation(
        "POST", "/v1/nodes/{node}/reload", "reloadNode", "Let it read its configuration again",
        resources.Done, Handlers.reload, (_THIS_NODE, _ORDER), problems=(404, 409, 504),
    ),
)  # fmt: skip


def argument(parameter: Parameter, text: str) -> Any:
    """The value of ``text``; Refused if the parameter cannot have it."""
    schema = parameter.schema
    if schema["type"] == "integer":
        if not re.fullmatch(r"-?[0-9]{1,16}", text):
            raise Refused(400, f"{parameter.name}: {text[:40]!r} is not a whole number")
        value = int(text)
        if not schema["minimum"] <= value <= schema["maximum"]:
            raise Refused(400, f"{parameter.name} is not from {schema['minimum']} to {schema['maximum']}")
        return value
    if "enum" in schema:
        if text not in schema["enum"]:
            raise Refused(400, f"{parameter.name} is not one of {', '.join(filter(None, schema['enum']))}")
        return text
    is_short = schema.get("minLength", 0) <= len(text) <= schema["maxLength"]
    if not is_short or not re.search(schema["pattern"], text):
        raise Refused(400, f"{parameter.name} is too long, or has characters that it cannot have")
    return text
