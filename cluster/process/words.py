"""What people are shown of what a peer or the system says."""

from __future__ import annotations

import errno
import os
import re
import socket

#: A query ends with the text that it is in; in bytes that are more than text, before the next control byte.
_QUERY = re.compile(rb"(?<=\?)[^\x00-\x1f]+")
_VALUE = re.compile(rb"(?<==)[^&]+")
_USER = re.compile(rb"(?<=://)[^/\x00-\x1f]*(?=@)")


def printable(text: str) -> str:
    """``text``, which a peer chose, on one line and without what steers a terminal."""
    shown = (character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return "".join(shown)


def reason_of(error: OSError | UnicodeError) -> str:
    """Why a connection failed, in the system's words: event loops have their own for the same errors.

    The resolver's numbers are not the system's, so its errors keep their words.
    """
    if isinstance(error, OSError) and error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    if isinstance(error, ConnectionResetError):  # as uvloop raises it
        return os.strerror(errno.ECONNRESET)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def hide_secrets(text: bytes) -> bytes:
    """``text`` with an asterisk for each byte of what is secret in an address.

    That is every value of its query, for there stand keys, tokens and signatures, under any name; the
    whole query if it has no names; and user and password in front of the host.
    """
    text = _QUERY.sub(lambda query: _hide_values(query[0]), text)
    return _USER.sub(lambda user: b"*" * len(user[0]), text)


def _hide_values(query: bytes) -> bytes:
    if b"=" not in query:
        return b"*" * len(query)
    return _VALUE.sub(lambda value: b"*" * len(value[0]), query)
