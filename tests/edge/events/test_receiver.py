"""One attempt over HTTP: what is sent, and what each answer means."""

from __future__ import annotations

import asyncio
import email.utils
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.edge.events.queue import Waiting
from cluster.edge.events.receiver import Attempt, HttpReceiver, Outcome
from cluster.edge.events.start import Receiver
from support.tls import make_certificate
from support.webhook_receiver import SECRET, Answer, WebhookReceiver

BODY = b'{"type": "play.started", "data": {"key": "live/a"}}'


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    made = WebhookReceiver()
    yield made
    made.close()


def attempt(url: str, **options: Any) -> Attempt:
    async def run() -> Attempt:
        receiver = HttpReceiver(Receiver(url, (SECRET, b"o" * 32)), connections=2, **options)
        try:
            return await receiver.tell(Waiting("evt_1", 1.0, BODY))
        finally:
            await receiver.close()

    return asyncio.run(run())


def test_an_event_is_posted_signed(receiver: WebhookReceiver) -> None:
    assert attempt(receiver.url) == Attempt(Outcome.DELIVERED)
    assert receiver.faults == []
    assert [(each.id, each.key) for each in receiver.arrived] == [("evt_1", "live/a")]


@pytest.mark.parametrize(
    ("answer", "outcome", "why"),
    [
        ((200, {}), Outcome.DELIVERED, ""),
        ((302, {"Location": "http://127.0.0.1:1/"}), Outcome.FAILED, "status 302"),
        ((404, {}), Outcome.FAILED, "status 404"),
        ((410, {}), Outcome.GONE, "status 410"),
        ((500, {}), Outcome.FAILED, "status 500"),
        (None, Outcome.FAILED, "ServerDisconnectedError"),
    ],
)
def test_what_an_answer_means(
    receiver: WebhookReceiver, answer: Answer, outcome: Outcome, why: str
) -> None:
    receiver.answer = lambda id, tries: answer
    assert attempt(receiver.url) == Attempt(outcome, why)
    assert receiver.attempts == {"evt_1": 1}


@pytest.mark.parametrize(
    ("said", "least_s", "most_s"),
    [
        ("7", 7, 7), ("0", 0, 0), ("-5", 0, 0), ("99999999", 3_600, 3_600), ("soon", 0, 0), ("inf", 0, 0),
        ("Mon, 99999999999999999999 Jan 2029 00:00:00 GMT", 0, 0),
        ("a date in ten minutes", 500, 600),
    ],
)  # fmt: skip
def test_retry_after_is_understood_and_bounded(
    receiver: WebhookReceiver, said: str, least_s: float, most_s: float
) -> None:
    if said == "a date in ten minutes":
        said = email.utils.formatdate(time.time() + 600, usegmt=True)
    receiver.answer = lambda id, tries: (503, {"Retry-After": said})
    assert least_s <= attempt(receiver.url).retry_after_s <= most_s


def test_a_receiver_that_does_not_answer_fails_and_its_address_is_not_told(
    receiver: WebhookReceiver,
) -> None:
    receiver.answer = lambda id, tries: time.sleep(0.5) or None  # type: ignore[func-returns-value]
    assert attempt(receiver.url, timeout_s=0.1).why == "no answer within 0.1 s"
    receiver.stop()
    failed = attempt(receiver.url)
    assert failed.outcome is Outcome.FAILED
    assert "Connect call failed" in failed.why
    assert "MARKED" not in failed.why


@pytest.mark.parametrize("is_trusted", [True, False])
def test_certificates_are_checked(
    is_trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.cert, files.key)
    if is_trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(files.cert))
    receiver = WebhookReceiver(tls=context)
    attempted = attempt(receiver.url)
    receiver.close()
    if is_trusted:
        assert attempted == Attempt(Outcome.DELIVERED)
    else:
        why = "its certificate is not good: self-signed certificate"
        assert attempted == Attempt(Outcome.FAILED, why)


@pytest.mark.parametrize("host", ["no-such-host.invalid", "no..host", "h" * 64])
def test_an_address_that_cannot_be_is_a_failure_that_repeats_nothing_of_it(host: str) -> None:
    failed = attempt(f"http://{host}/?token=MARKED")
    assert failed.outcome is Outcome.FAILED
    assert "MARKED" not in failed.why


def test_secrets_are_in_no_repr() -> None:
    assert repr(Receiver("http://h/?token=x", (b"y",))) == "Receiver()"


def attempt_answered_by(head: bytes, page: bytes, query: str = "") -> Attempt:
    """What comes of an attempt that is answered with ``page``."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.settimeout(30)
                received = b""
                while not received.endswith(BODY):  # who closes before, resets the connection
                    received += accepted.recv(65_536)
                accepted.sendall(head + b"Content-Length: %d\r\n\r\n" % len(page))
                accepted.sendall(page)

        thread = threading.Thread(target=serve)
        thread.start()
        made = attempt(f"http://127.0.0.1:{server.getsockname()[1]}/hook{query}")
        thread.join()
    return made


def test_an_answer_that_is_compressed_stays_as_small_as_it_came() -> None:
    page = gzip.compress(b"0" * 10_000)
    failed = attempt_answered_by(b"HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\n", page)
    assert failed.outcome is Outcome.FAILED
    assert failed.why.startswith("status 500")
    assert "000" not in failed.why


def test_an_error_page_that_repeats_the_address_does_not_tell_its_secret() -> None:
    page = b"no /hook?user=a&amp;token=MARK%26ED or user=a&token=MARK%26ED or MARK&ED: a page, here"
    failed = attempt_answered_by(b"HTTP/1.1 404 Not Found\r\n", page, "?user=a&token=MARK%26ED")
    assert "no /hook?" in failed.why
    assert "a page, here" in failed.why
    assert "MARK" not in failed.why
