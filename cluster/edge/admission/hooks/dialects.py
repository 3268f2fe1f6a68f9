"""How a question is put, and an answer read, in the words of each dialect. Nothing here does I/O.

Ours has its description in docs/hooks.md. The others are what programs for nginx-rtmp, SRS and MediaMTX
expect, so that they work as they are. Who reads an answer says yes or no, or raises ``BadReply``.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote_plus

from cluster.core.errors import PeerViolation
from cluster.core.keys import StreamKey
from cluster.edge.admission.hooks.questions import BadReply, Question, Reply, Written
from cluster.edge.admission.hooks.settings import Dialect
from cluster.edge.peers.access import Allow, Deny, Refused, Verdict

#: What a peer is told to connect to: FFmpeg takes no longer tcUrl.
MAX_REDIRECT_CHARACTERS = 1_024

_REFUSED = "the application does not allow it"
_REDIRECTED = "the application has it elsewhere"
_NEITHER = "its answer is neither yes nor no"
_SCHEMES = ("rtmp://", "rtmps://", "http://", "https://")

#: SRS asks with ``vhost``; a server that has one alone calls it so.
_DEFAULT_VHOST = "__defaultVhost__"
#: Sessions as MediaMTX names them are UUIDs; ours become the same UUID each time.
_SESSION_NAMES = uuid.UUID("6b8f3a52-6d0e-5c0e-9a55-8d5d1c3f7a10")


class Words(NamedTuple):
    """A dialect."""

    write: Callable[[Question], Written]
    read: Callable[[Question, Reply], Verdict]


# ---- rtmp-cluster ----------------------------------------------------------------------------


def _write_ours(question: Question) -> Written:
    access, shown = question.access, question.shown
    return _json({
        "action": access.action, "key": access.key, "app": question.app, "name": question.name,
        "query": access.query, "app_query": access.app_query, "proven_user": question.user,
        "user": shown.user, "password": shown.password, "token": shown.token,
        "ip": question.ip, "port": question.port, "protocol": access.spoken, "session": access.session,
        "agent": access.agent, "tc_url": access.tc_url, "page_url": access.page_url,
        "swf_url": access.swf_url,
        "details": {name: _plain(value) for name, value in access.details.items()},
    })  # fmt: skip


def _read_ours(question: Question, reply: Reply) -> Verdict:
    if reply.status in (401, 403):
        return _deny(question, reply, _reason(_object_or_none(reply)))
    if not 200 <= reply.status < 300:
        raise BadReply(_NEITHER)
    if not reply.body.strip():
        return Allow()
    answer = _object(reply)
    allow = answer.get("allow")
    if not isinstance(allow, bool):
        raise BadReply('its answer does not say "allow": true or false')
    redirect = _text(answer, "redirect")
    if redirect and allow:
        raise BadReply("its answer allows and redirects")
    if redirect:
        return Deny(_reason(answer) or _REDIRECTED, redirect=_redirect(redirect), why=Refused.HOOK_REFUSED)
    if not allow:
        return _deny(question, reply, _reason(answer))
    key = _text(answer, "key")
    most = _number(answer, "max_bytes_per_s")
    return Allow(
        key=_key(key) if key else None,
        ends_at=_number(answer, "expires"),
        most_bytes_per_s=None if most is None else max(1, int(most)),
    )


# ---- nginx-rtmp (ngx_rtmp_notify_module.c) ---------------------------------------------------


def _write_nginx(question: Question) -> Written:
    access, details = question.access, question.access.details
    fields: list[tuple[str, object]] = [
        ("app", question.app), ("flashver", access.agent), ("swfurl", access.swf_url),
        ("tcurl", question.tc_url), ("pageurl", access.page_url), ("addr", question.ip),
        ("clientid", access.session), ("call", access.action), ("name", question.name),
    ]  # fmt: skip
    if access.action == "publish":
        fields.append(("type", details.get("type") or "live"))
    else:
        fields += [("start", _unsigned_ms(details.get("start"))),
                   ("duration", _unsigned_ms(max(0.0, _seconds(details.get("duration"))))),
                   ("reset", int(bool(details.get("reset"))))]  # fmt: skip
    taken = {name for name, _ in fields}
    items = [f"{name}={_escaped(str(value))}" for name, value in fields]
    # As they came, each a field of the form. But many back ends go by the last of two of the same name:
    # a publisher could say for itself what its stream and its address are.
    items += [
        item for item in access.query.split("&")
        if item and not _field_names(item) & taken and "\0" not in unquote_plus(item)  # see ``_readable``
    ]  # fmt: skip
    body = "&".join(items)
    return Written(_bytes(body), {"Content-Type": "application/x-www-form-urlencoded"})


def _read_nginx(question: Question, reply: Reply) -> Verdict:
    match reply.status // 100:
        case 2:
            return Allow()
        case 3 if reply.location.startswith(("rtmp://", "rtmps://")):
            return Deny(_REDIRECTED, redirect=_redirect(reply.location), why=Refused.HOOK_REFUSED)
        case 3 if reply.location.startswith(("/", "http:", "https:")):
            raise BadReply("it redirects HTTP: Location is to be the name of a stream")
        case 3 if reply.location:
            return Allow(key=_key(f"{question.app}/{reply.location}"))
        case 4:
            return _deny(question, reply)
    raise BadReply(_NEITHER)


def _unsigned_ms(seconds: object) -> int:
    """A time as nginx-rtmp prints it: -2 s is 4294965296."""
    return int(_seconds(seconds) * 1_000) & 0xFFFFFFFF


def _seconds(value: object) -> float:
    """A time of ``play``; what cannot be one is 0, as what is missing."""
    return float(value) if isinstance(value, int | float) and abs(value) < 2**31 else 0.0


def _field_names(item: str) -> set[str]:
    """The names of a form's fields, as lenient programs understand them: PHP takes ``+name[0]=x`` and
    ``name%00z=x`` for ``name``, and to CGI.pm, older Python and Rack ``x=1;name=y`` are two fields."""
    names = (unquote_plus(each.partition("=")[0]).strip(" \t\0") for each in item.split(";"))
    return {re.split(r"[\[\0]", name, maxsplit=1)[0].strip(" \t").lower() for name in names}


def _escaped(text: str) -> str:
    return quote(_bytes(text), safe="")


# ---- SRS (srs_app_http_hooks.cpp) ------------------------------------------------------------


def _write_srs(question: Question) -> Written:
    access = question.access
    server, _, service = access.session.rpartition("-")[0].partition("-")
    fields: dict[str, object] = {
        "server_id": server or access.session, "service_id": service or access.session,
        "action": f"on_{access.action}", "client_id": access.session, "ip": question.ip,
        "vhost": _DEFAULT_VHOST, "app": question.app, "tcUrl": question.tc_url, "stream": question.name,
        "param": f"?{question.query}" if question.query else "", "stream_url": f"/{access.key}",
    }  # fmt: skip
    if access.action == "play":
        fields["pageUrl"] = access.page_url
    return _json(fields)


def _read_srs(question: Question, reply: Reply) -> Verdict:
    if 400 <= reply.status < 500:
        return _deny(question, reply)
    if reply.status not in (200, 201):
        raise BadReply(_NEITHER)
    answer = _parsed(reply)
    code = answer.get("code") if isinstance(answer, dict) else answer
    if not isinstance(code, int) or isinstance(code, bool):
        raise BadReply('its answer is neither a number nor {"code": a number}')
    return Allow() if code == 0 else _deny(question, reply)


# ---- MediaMTX (internal/auth/manager.go) -----------------------------------------------------


def _write_mediamtx(question: Question) -> Written:
    access, shown = question.access, question.shown
    # A name alone shows nothing: who has been proven to be one user does not become another by it.
    user = shown.user if shown.password else question.user or shown.user
    return _json({
        "ip": question.ip, "user": user, "password": shown.password,
        "token": shown.token, "action": "publish" if access.action == "publish" else "read",
        "path": access.key, "protocol": "rtmp" if access.spoken in ("rtmp", "rtmps") else "hls",
        "id": str(uuid.uuid5(_SESSION_NAMES, access.session)), "query": question.query,
        "userAgent": access.agent,
    })  # fmt: skip


def _read_mediamtx(question: Question, reply: Reply) -> Verdict:
    match reply.status // 100:
        case 2:
            return Allow()
        case 4:
            return _deny(question, reply)
    raise BadReply(_NEITHER)


# ---- what they share -------------------------------------------------------------------------


WORDS: Mapping[Dialect, Words] = {
    Dialect.OURS: Words(_write_ours, _read_ours),
    Dialect.NGINX_RTMP: Words(_write_nginx, _read_nginx),
    Dialect.SRS: Words(_write_srs, _read_srs),
    Dialect.MEDIAMTX: Words(_write_mediamtx, _read_mediamtx),
}


def _json(fields: Mapping[str, object]) -> Written:
    readable = {name: _readable(value) for name, value in fields.items()}
    text = json.dumps(readable, separators=(",", ":"), ensure_ascii=False)
    return Written(text.encode(errors="replace"), {"Content-Type": "application/json"})


def _readable(value: object) -> object:
    """Zero bytes, which databases take for no text, become question marks here, as what is no UTF-8 does:
    programs that cannot read a question might not answer it, and with ``fail = "open"`` that would let
    anybody in."""
    if isinstance(value, dict):
        return {name: _readable(each) for name, each in value.items()}
    return value.replace("\0", "?") if isinstance(value, str) else value


def _plain(value: object) -> object:
    """An argument of a command as JSON can have it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _bytes(text: str) -> bytes:
    """As the peer sent it, also what is no UTF-8."""
    return text.encode(errors="surrogateescape")


def _deny(question: Question, reply: Reply, reason: str = "") -> Deny:
    """A no. Whoever has shown nothing, and is refused with 401, may be asked to show something."""
    if reply.status == 401 and not (question.shown or question.user):
        return Deny(reason or _REFUSED, why=Refused.NO_CREDENTIALS, schemes=("Basic", "Bearer"))
    return Deny(reason or _REFUSED, why=Refused.HOOK_REFUSED)


def _parsed(reply: Reply) -> object:
    if not reply.is_whole:
        raise BadReply("its answer is too long")
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        raise BadReply("its answer is not JSON") from None


def _object(reply: Reply) -> dict[str, Any]:
    answer = _parsed(reply)
    if not isinstance(answer, dict):
        raise BadReply("its answer is not a JSON object")
    return answer


def _object_or_none(reply: Reply) -> dict[str, Any]:
    """Of a no: what stands in its body need not be ours."""
    try:
        return _object(reply)
    except BadReply:
        return {}


def _text(answer: Mapping[str, Any], name: str) -> str:
    text = answer.get(name)
    if text is not None and not isinstance(text, str):
        raise BadReply(f'"{name}" in its answer is not text')
    return text or ""


def _number(answer: Mapping[str, Any], name: str) -> float | None:
    number = answer.get(name)
    if number is None:
        return None
    if not isinstance(number, int | float) or isinstance(number, bool) or not 0 < number < 2**53:
        raise BadReply(f'"{name}" in its answer is not a number above 0')
    return float(number)


def _reason(answer: Mapping[str, Any]) -> str:
    """As it is. What of it is shown, and how much, is for those who know its secrets (``masking``)."""
    reason = answer.get("reason")
    return reason if isinstance(reason, str) else ""


def _key(text: str) -> StreamKey:
    try:
        return StreamKey.parse("", text)
    except PeerViolation:
        raise BadReply("the stream key in its answer cannot be one") from None


def _redirect(address: str) -> str:
    is_one = address.startswith(_SCHEMES) and len(address) <= MAX_REDIRECT_CHARACTERS
    if not is_one or not address.isascii() or not address.isprintable() or " " in address:
        raise BadReply("the address in its answer, to go to, cannot be one")
    return address
