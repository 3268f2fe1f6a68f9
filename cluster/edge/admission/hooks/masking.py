"""What may be shown of what the operator's program has said: it may repeat what it was told."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from urllib.parse import quote, quote_plus, unquote, unquote_plus, urlsplit

from cluster.edge.admission.credentials import MAX_QUERY_ITEMS
from cluster.edge.admission.hooks.questions import Question
from cluster.process.words import hide_secrets, printable

#: Of an answer in the log: enough for the first words of an error page.
MAX_SHOWN_CHARACTERS = 120

_HIDDEN = "***"
_ESCAPE = re.compile("%[0-9A-F]{2}")
#: What a peer is told of a reason: a description of RTMP is one line.
MAX_REASON_CHARACTERS = 200
#: What is shorter is no secret, and stands in every text.
_SHORTEST = 3
#: A percent-encoded byte takes so many characters.
_CHARACTERS_OF_BYTE = 3


def shown_answer(body: bytes, question: Question, address: str) -> str:
    """The beginning of an answer, on one line and without any secret of the question and its address."""
    text = hide_secrets(masked(body.decode(errors="replace"), question, address).encode()).decode()
    shown = printable(" ".join(text.split()))
    return shown if len(shown) <= MAX_SHOWN_CHARACTERS else f"{shown[:MAX_SHOWN_CHARACTERS]}…"


def shown_reason(text: str, question: Question, address: str) -> str:
    """The beginning of what a peer is told, and the log with it, without any secret: also none that its end
    would cut, or that holds what steers a terminal."""
    return printable(masked(text, question, address)[:MAX_REASON_CHARACTERS])


def masked(text: str, question: Question, address: str) -> str:
    """``text`` without the secrets, in whatever form programs write them."""
    # What is longer in all of its forms is not in it, and would take milliseconds to spell.
    longest = _CHARACTERS_OF_BYTE * len(text)
    secrets = {each for each in _secrets(question, address) if _SHORTEST <= len(each) <= longest}
    for form in sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True):
        if form in text:
            text = text.replace(form, _HIDDEN)
    return text


def host_of_address(address: str) -> str:
    """Whose address it is. The rest of it may be a secret."""
    parts = urlsplit(address)
    return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)


def _secrets(question: Question, address: str) -> Iterator[str]:
    access, parts = question.access, urlsplit(address)
    yield from (question.shown.password, question.shown.token)
    yield from access.authorization.split(maxsplit=1)
    if parts.password:
        yield parts.password
    for query in (access.query, access.app_query, parts.query):
        yield query
        for item in query.split("&", MAX_QUERY_ITEMS)[:MAX_QUERY_ITEMS]:
            name, mark, value = item.partition("=")
            yield value if mark else name


def _forms(secret: str) -> Iterator[str]:
    """``secret`` as it is, and as it stands in addresses, JSON and HTML."""
    for plain in {secret, unquote(secret), unquote_plus(secret)} - {""}:
        text = plain.encode(errors="replace").decode()
        in_json = json.dumps(plain)[1:-1]
        yield from (text, html.escape(text), in_json, in_json.replace("/", r"\/"))
        yield json.dumps(text, ensure_ascii=False)[1:-1]
        for quoted in (quote(text), quote(text, safe=""), quote_plus(text)):
            yield quoted
            yield _ESCAPE.sub(lambda escape: escape[0].lower(), quoted)
