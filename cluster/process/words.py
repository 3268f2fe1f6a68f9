"""What people are shown of what a peer or the system says."""

from __future__ import annotations

import os
import socket


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
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
