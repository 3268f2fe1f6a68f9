"""A receiver of events on loopback, which fails as often as it is told to, and checks what it is sent."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

SECRET = bytes(range(32))
SECRET_TEXT = "whsec_" + base64.b64encode(SECRET).decode()
#: What it may answer: a status, further header fields, or nothing but the end of the connection.
Answer = tuple[int, dict[str, str]] | None
OK: Answer = (204, {})


#: Of a timestamp; on a busy machine an attempt is on its way for seconds.
_MOST_OFF_S = 60


class Arrived(NamedTuple):
    """An event that was taken, ``at`` on the clock of time.monotonic."""

    id: str
    type: str
    data: dict[str, Any]
    at: float

    @property
    def key(self) -> str:
        return str(self.data["key"])


#: So often in a row an event may fail before it is taken: each time takes twice as long.
_MOST_FAILURES = 6
_CHANCE = random.Random(7)
_FAILURES: tuple[Answer, ...] = ((500, {}), (302, {"Location": "/elsewhere"}), (429, {}), None)


def half_fail(id: str, attempt: int) -> Answer:
    """Every other attempt fails, in one way or another."""
    fails = attempt <= _MOST_FAILURES and _CHANCE.random() < 0.5
    return _CHANCE.choice(_FAILURES) if fails else OK


class WebhookReceiver:
    """Takes events at ``url`` once started. ``answer`` is given an id and how often it has been
    seen, and says what becomes of it.

    ``attempts``: how often each id was seen; ``arrived``: what was taken, as often as it was; ``faults``:
    attempts that break Standard Webhooks. ``stop`` and ``start`` keep the port, ``close`` ends it all.
    """

    def __init__(
        self,
        answer: Callable[[str, int], Answer] = lambda id, attempt: OK,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.answer = answer
        self._tls = tls
        self.attempts: dict[str, int] = {}
        self.arrived: list[Arrived] = []
        self.faults: list[str] = []
        self._lock = threading.Lock()
        self._server: _Server | None = None
        #: Bound and deaf: while the server is away nobody else is given its port.
        self._held = socket.socket()
        self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._held.bind(("127.0.0.1", 0))
        self._port = int(self._held.getsockname()[1])
        self.start()

    @property
    def url(self) -> str:
        scheme, host = ("http", "127.0.0.1") if self._tls is None else ("https", "localhost")
        return f"{scheme}://{host}:{self._port}/events?token=MARKED-SECRET"

    def start(self) -> None:
        receiver = self

        class Handler(_Handler):
            owner = receiver

        self._server = _Server(("127.0.0.1", self._port), Handler)
        if self._tls is not None:
            self._server.socket = self._tls.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.close_all()
            self._server = None

    def close(self) -> None:
        """Stop for good."""
        self.stop()
        self._held.close()

    def heard(self, headers: dict[str, str], body: bytes) -> Answer:
        """An attempt."""
        with self._lock:
            id = headers.get("webhook-id", "")
            self.attempts[id] = self.attempts.get(id, 0) + 1
            if fault := fault_of(headers, body):
                self.faults.append(fault)
            answer = self.answer(id, self.attempts[id])
            if answer is not None and 200 <= answer[0] < 300:
                said = json.loads(body)
                self.arrived.append(Arrived(id, said["type"], said["data"], time.monotonic()))
            return answer

    def first(self) -> list[Arrived]:
        """What was taken, without repetitions, in the order of arrival."""
        with self._lock:
            return list({each.id: each for each in reversed(self.arrived)}.values())[::-1]


def fault_of(headers: dict[str, str], body: bytes, secret: bytes = SECRET) -> str:
    """What is wrong with an attempt, by Standard Webhooks 1.0.0; "" if nothing is."""
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if abs(int(stamp or 0) - time.time()) > _MOST_OFF_S:
        return f"{id}: its timestamp is {stamp}"
    signed = hmac.new(secret, f"{id}.{stamp}.".encode() + body, hashlib.sha256).digest()
    if f"v1,{base64.b64encode(signed).decode()}" not in headers.get("webhook-signature", "").split(" "):
        return f"{id}: its signature is wrong"
    return "" if len(body) < 20_000 else f"{id}: {len(body)} bytes"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: WebhookReceiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.owner.heard({name.lower(): value for name, value in self.headers.items()}, body)
        if answer is None:
            self.close_connection = True
            return
        status, fields = answer
        self.send_response_only(status)
        for name, value in fields.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *arguments: Any) -> None:
        self._open: set[Any] = set()
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def close_all(self) -> None:
        """End connections that wait for another request too."""
        for request in list(self._open):
            with contextlib.suppress(OSError):
                request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The other side has gone."""
