"""Cursors: where a page of a list has ended, as text that only we read."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any


class BadCursor(ValueError):
    """What was given as a cursor is none of ours."""


def cursor_of(*place: str | int) -> str:
    """``place`` as text for an address."""
    text = json.dumps(place, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def place_of(cursor: str, *kinds: type) -> tuple[Any, ...]:
    """The place that ``cursor`` stands for: values of these kinds; BadCursor if it is none."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError):
        raise BadCursor("the cursor is not one that a list has given") from None
    if type(place) is not list or [type(each) for each in place] != list(kinds):
        raise BadCursor("the cursor is of another list")
    return tuple(place)
