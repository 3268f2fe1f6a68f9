"""What ``--log-level debug`` shows of a connection: its commands, in and out.

A session that says so takes the place of the plain one. At other levels there is nothing that could cost.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from cluster.core.amf.values import AmfValue
from cluster.core.message import Message
from cluster.core.rtmp.command import Command
from cluster.core.rtmp.events import Received
from cluster.core.rtmp.server_session import ServerSession
from cluster.edge.peers.log_facts import Facts

logger = logging.getLogger(__name__)

#: Of one string, of one object, and of what is inside one another: a line is to stay one.
_SHOWN_CHARACTERS: Final = 100
_SHOWN_VALUES: Final = 20
_SHOWN_DEPTH: Final = 3
#: Characters of all values together.
_SHOWN_IN_ALL: Final = 2_000

#: User and password of an address.
_CREDENTIALS: Final = re.compile(r"//[^/?]*@")


class LoggedSession(ServerSession):
    """A session whose commands have a line each. To ``begin`` before anything is received."""

    __slots__ = ("_who",)

    def begin(self, who: Facts) -> None:
        """``who`` are the fields that say whose commands they are."""
        self._who = who

    def _command(self, command: Command, message: Message, received: Received) -> None:
        logger.debug(
            "in: %(command)s", {"command": spelled(command)},
            extra={"event": "command_received", **self._who},
        )  # fmt: skip
        super()._command(command, message, received)

    def _send(self, outgoing_command: Command) -> None:
        logger.debug(
            "out: %(command)s", {"command": spelled(outgoing_command)},
            extra={"event": "command_sent", **self._who},
        )  # fmt: skip
        super()._send(outgoing_command)


def session_class() -> type[ServerSession]:
    """What a connection that is accepted now is to have."""
    return LoggedSession if logger.isEnabledFor(logging.DEBUG) else ServerSession


def spelled(command: Command) -> str:
    """``command`` for people: ``publish("cam1", "live") #5 on 1``, without what may be secret."""
    values = command.args if command.command_object is None else (command.command_object, *command.args)
    shown = [_value(each, _SHOWN_DEPTH) for each in values]
    if command.name == "connect" and command.args:  # of NetConnection.connect: a user and a password
        shown[-len(command.args) :] = ["…"]
    listed = ", ".join(shown)
    if len(listed) > _SHOWN_IN_ALL:
        listed = f"{listed[:_SHOWN_IN_ALL]}…"
    text = f"{_text(command.name)}({listed})"
    if command.transaction_id:
        text += f" #{command.transaction_id:g}"
    return f"{text} on {command.stream_id}" if command.stream_id else text


def _value(value: AmfValue, depth: int) -> str:
    if isinstance(value, str):
        return f'"{_text(value)}"'
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return f"{value:g}"
    if isinstance(value, dict | list | tuple):
        if not depth:
            return "…"
        shown = list(value.items() if isinstance(value, dict) else value)[:_SHOWN_VALUES]
        more = ["…"] if len(value) > len(shown) else []
        if isinstance(value, dict):
            parts = [f"{_text(str(name))}: {_value(each, depth - 1)}" for name, each in shown]
            return f"{{{', '.join(parts + more)}}}"
        return f"[{', '.join([_value(each, depth - 1) for each in shown] + more)}]"
    return type(value).__name__


def _text(text: str) -> str:
    """``text`` cut to a length, without what stands behind a "?" and without a password."""
    before, mark, _ = text.partition("?")
    before = _CREDENTIALS.sub("//", before)
    cut = "…" if mark or len(before) > _SHOWN_CHARACTERS else ""
    return f"{before[:_SHOWN_CHARACTERS]}{mark}{cut}"
