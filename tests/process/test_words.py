"""What people are shown of what a peer or the system says."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from cluster.process.words import hide_secrets, printable, reason_of


def test_what_a_peer_says_cannot_steer_a_terminal() -> None:
    assert printable("a\x1b]0;x\x07\nb\x85é") == "a�]0;x��b�é"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "Connect call failed"), os.strerror(errno.ECONNREFUSED)),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "Name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (TimeoutError(), "TimeoutError"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
def test_the_systems_words_are_taken_where_there_are_any(error: OSError, words: str) -> None:
    assert reason_of(error) == words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("cam", "cam"),
        ("cam?token=abc&x=1", "cam?token=***&x=*"),
        ("cam?abc", "cam?***"),
        ("cam?sign=a=b c", "cam?sign=*****"),
        ("cam?", "cam?"),
        ("rtmp://user:pass@host/app", "rtmp://*********@host/app"),
        ("rtmp://host/app/a@b", "rtmp://host/app/a@b"),
        (
            "[ AccessManager.Reject ] : ?reason=needauth&salt=abc",
            "[ AccessManager.Reject ] : ?reason=********&salt=***",
        ),
    ],
)
def test_secrets_of_an_address_are_hidden_byte_for_byte(text: str, shown: str) -> None:
    assert hide_secrets(text.encode()) == shown.encode()
