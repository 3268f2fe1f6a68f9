"""The table ``[hooks]`` of the configuration: who is asked, who is told, and how."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from cluster.edge.admission.interfaces import PolicyFaults

#: Of Standard Webhooks 1.0.0: what a secret begins with, before its base64, and how long it may be.
SECRET_PREFIX = "whsec_"
SECRET_BYTES = range(24, 65)

#: Somebody waits in front of a black screen; nginx-rtmp and MediaMTX give up after ten seconds.
TIMEOUT_S = 5.0
SHORTEST_TIMEOUT_S = 0.1
LONGEST_TIMEOUT_S = 60.0

_KEYS = ("publish", "play", "dialect", "timeout", "secret", "events", "events_secret")


class Dialect(StrEnum):
    """Whose words a question is put in."""

    OURS = "rtmp-cluster"
    NGINX_RTMP = "nginx-rtmp"
    SRS = "srs"
    MEDIAMTX = "mediamtx"


@dataclass(frozen=True, slots=True)
class HookSettings:
    """``publish`` and ``play``: the addresses that decide; ``events``: the one that is told; "" for none.

    ``secrets`` sign the questions, ``events_secrets`` the events. Each signs: with an old and a new one, a
    receiver can change from one to the other. Addresses are secrets too, for what their queries hold.
    """

    publish: str = field(default="", repr=False)
    play: str = field(default="", repr=False)
    dialect: Dialect = Dialect.OURS
    timeout_s: float = TIMEOUT_S
    secrets: tuple[bytes, ...] = field(default=(), repr=False)
    events: str = field(default="", repr=False)
    events_secrets: tuple[bytes, ...] = field(default=(), repr=False)


def parse_hooks(table: Mapping[str, Any]) -> HookSettings:
    """Read the table, in which files have been replaced by what was in them. PolicyFaults says all that is
    wrong."""
    faults: dict[str, str] = {}
    values: dict[str, Any] = {}
    for key, value in table.items():
        try:
            values[key] = _value(key, value)
        except ValueError as error:
            faults[key] = str(error)
    if values.get("secret") and values.get("dialect", Dialect.OURS) is not Dialect.OURS:
        faults["secret"] = f'only questions of dialect "{Dialect.OURS}" are signed: leave secret out'
    for secret, needs in (("secret", ("publish", "play")), ("events_secret", ("events",))):
        if secret in values and not any(key in table for key in needs):
            faults.setdefault(secret, f"there is nothing to sign: {' or '.join(needs)} is not set")
    if faults:
        raise PolicyFaults((("hooks", key), f"{key} in [hooks]: {text}") for key, text in faults.items())
    return HookSettings(
        publish=values.get("publish", ""),
        play=values.get("play", ""),
        dialect=values.get("dialect", Dialect.OURS),
        timeout_s=values.get("timeout", TIMEOUT_S),
        secrets=values.get("secret", ()),
        events=values.get("events", ""),
        events_secrets=values.get("events_secret", ()),
    )


def _value(key: str, value: object) -> object:
    match key:
        case "publish" | "play" | "events":
            return http_address(value)
        case "dialect":
            return _dialect(value)
        case "timeout":
            return _timeout_s(value)
        case "secret" | "events_secret":
            return webhook_secrets(value)
    import difflib

    if near := difflib.get_close_matches(key, _KEYS, 1):
        raise ValueError(f"unknown: did you mean {near[0]}?")
    raise ValueError(f"unknown: there are {', '.join(_KEYS)}")


def http_address(value: object) -> str:
    """An address of HTTP; ValueError says what is accepted, and repeats nothing of it."""
    if not isinstance(value, str):
        raise ValueError('must be text in quotes, such as "https://app.example/hook"')
    try:
        parts = urlsplit(value)
        bad = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        bad = True
    if bad or not value.isprintable() or " " in value:
        raise ValueError("must be an address such as https://app.example/hook")
    if parts.fragment:
        raise ValueError("an address that is asked has no #fragment")
    return value


def webhook_secrets(value: object) -> tuple[bytes, ...]:
    """Keys of Standard Webhooks: a text, in which several are separated by white space, or a list."""
    keys: tuple[bytes, ...] = ()
    for text in value if isinstance(value, list) else [value]:
        if not isinstance(text, str):
            raise ValueError(f'must be text in quotes, such as "{SECRET_PREFIX}…", or a list of such')
        keys += tuple(map(_webhook_secret, text.split()))
    if not keys:
        raise ValueError("is empty")
    return keys


def _webhook_secret(text: str) -> bytes:
    how = f'"{SECRET_PREFIX}" and the base64 of 24 to 64 random bytes (openssl rand -base64 32)'
    if not text.startswith(SECRET_PREFIX):
        raise ValueError(f"must be {how}")
    try:
        key = base64.b64decode(text.removeprefix(SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is no base64: must be {how}") from None
    if len(key) not in SECRET_BYTES:
        raise ValueError(f"has {len(key)} bytes: must be {how}")
    return key


def _dialect(value: object) -> Dialect:
    if not isinstance(value, str) or value not in tuple(Dialect):
        raise ValueError(f"must be one of {', '.join(Dialect)}, in quotes")
    return Dialect(value)


def _timeout_s(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError("must be a number of seconds, without quotes")
    if not SHORTEST_TIMEOUT_S <= value <= LONGEST_TIMEOUT_S:
        raise ValueError(f"must be from {SHORTEST_TIMEOUT_S:g} to {LONGEST_TIMEOUT_S:g} seconds")
    return float(value)
