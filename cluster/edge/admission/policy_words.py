"""The tables of a policy for people to read: without their secrets, and what differs between two of them.

Nothing that is said here holds a secret: of one it is only told that it is there, or that it has changed.
"""

from __future__ import annotations

import difflib
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from cluster.process import toml_text

#: What stands where a secret was.
MASK = "***"

#: Of these in [hooks], all but the host may be a secret: many receivers know their senders by the path.
_HOOKS = ("publish", "play", "events")

#: Lists of tables that have no names; the word for one of them.
_LISTS = {"rule": "rule", "limit": "limit"}


def is_secret(key: str) -> bool:
    """What stands at this key of a table lets somebody in. The name of the file that holds it does not."""
    return key in ("publish_key",) or (
        ("secret" in key or "password" in key) and not key.endswith("_file")
    )


def masked(tables: Any) -> Any:
    """The same tables, with the mask in place of each secret."""
    return _hidden(tables, lambda secret: [MASK] * len(secret) if isinstance(secret, list) else MASK)


def sealed(tables: Any, salt: bytes) -> Any:
    """The same tables for ``differences``: of each secret there is only what tells it from another."""

    def seal(secret: object) -> str:
        return hmac.new(salt, json.dumps(secret).encode(), hashlib.sha256).hexdigest()

    return _hidden(tables, seal, lambda url, key: f"{_shown_address(url, key)}#{seal(url)}")


def _hidden(
    value: Any,
    hide: Callable[[Any], Any],
    hide_url: Callable[[str, str], str] | None = None,
    key: str = "",
) -> Any:
    if is_secret(key):
        return hide(value)
    if isinstance(value, Mapping):
        return {name: _hidden(each, hide, hide_url, name) for name, each in value.items()}
    if isinstance(value, list):
        return [_hidden(each, hide, hide_url) for each in value]
    if isinstance(value, str) and "://" in value:
        return (hide_url or _shown_address)(value, key)
    return value


def _shown_address(url: str, key: str) -> str:
    """The address at ``key`` without what may be a secret in it: a password before the host, the query, and
    of a hook the path."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")
        netloc = f"{MASK}@{host[2]}" if host[1] else parts.netloc
        path = MASK if key in _HOOKS and parts.path.strip("/") else parts.path
        return urlunsplit((parts.scheme, netloc, path, MASK if parts.query else "", ""))
    except ValueError:
        return MASK


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What has changed from ``old`` to ``new``, a sentence each. Both are tables without faults."""
    found: list[str] = []
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) == new.get(name):
            continue
        if name in _LISTS:
            found += _of_lists(_LISTS[name], old.get(name, []), new.get(name, []))
        elif name == "users":
            found += _of_users(old.get(name, {}), new.get(name, {}))
        elif isinstance(old.get(name, {}), Mapping) and isinstance(new.get(name, {}), Mapping):
            found += _of_tables(f"[{name}] ", old.get(name, {}), new.get(name, {}))
        else:
            found += _of_tables("", {name: old.get(name)}, {name: new.get(name)})
    return found


def _of_lists(word: str, old: list[Any], new: list[Any]) -> Iterator[str]:
    """Numbers count from 1; those of what is gone are the old ones."""
    # By what they say, secrets or not: only what is shown of them is masked.
    before, after = ([toml_text.value(each) for each in tables] for tables in (old, new))
    shown_old, shown_new = ([toml_text.value(masked(each)) for each in tables] for tables in (old, new))
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for what, first, last, first_new, last_new in matcher.get_opcodes():
        if what == "equal":
            continue
        same = min(last - first, last_new - first_new)
        for n in range(same):
            yield (
                f"{word} {first_new + n + 1} changed from {shown_old[first + n]} to "
                f"{shown_new[first_new + n]}"
            )
        for n in range(first + same, last):
            yield f"{word} {n + 1} removed: {shown_old[n]}"
        for n in range(first_new + same, last_new):
            yield f"{word} {n + 1} added: {shown_new[n]}"


def _of_users(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        user = f"user {toml_text.quoted(name)}"
        if name not in old:
            yield f"{user} added"
        elif name not in new:
            yield f"{user} removed"
        elif old[name] != new[name]:
            yield f"{user} changed"


def _of_tables(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if before == after:
            continue
        shown, shown_new = (toml_text.value(masked(each)) for each in (before, after))
        # What differs in the masked part of an address alone would look the same.
        if before is None:
            yield f"{where}{key} set" if is_secret(key) else f"{where}{key} set to {shown_new}"
        elif after is None:
            yield f"{where}{key} removed"
        elif is_secret(key) or shown == shown_new:
            yield f"{where}{key} changed"
        else:
            yield f"{where}{key} changed from {shown} to {shown_new}"
