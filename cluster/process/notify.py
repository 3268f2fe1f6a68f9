"""What a service manager is told: ready, reloading, ending. The protocol of sd_notify(3), no library.

Each notification is one datagram of ``NAME=value`` lines to the Unix socket that ``NOTIFY_SOCKET`` names.
systemd reads it of units with ``Type=notify``; where nobody set the variable nothing is said.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import MutableMapping

logger = logging.getLogger(__name__)

#: The environment variable with the socket: a path, or ``@`` and a name in the abstract name space.
SOCKET_VARIABLE = "NOTIFY_SOCKET"


class Notifier:
    """Tells the service manager at ``address``; without one it is silent.

    A manager that cannot be told must not end the service: the failure is logged and the datagram lost.
    """

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def taken_from(cls, environment: MutableMapping[str, str]) -> Notifier:
        """The one that ``environment`` names. The variable is taken out: a child process speaks for
        itself alone, and systemd refuses what a process tells that is not the main one."""
        address = environment.pop(SOCKET_VARIABLE, "")
        if address and not address.startswith(("/", "@")):
            logger.warning(
                "%(variable)s: %(address)r is neither a path nor an abstract name",
                {"variable": SOCKET_VARIABLE, "address": address}, extra={"event": "notify_failed"},
            )  # fmt: skip
            address = ""
        return cls(address or None)

    def ready(self, status: str) -> None:
        """The service serves; ``status`` is one line for ``systemctl status``."""
        self._tell("READY=1", f"STATUS={_one_line(status)}")

    def reloading(self, status: str) -> None:
        """The service reads its configuration again; ``ready`` says that it has, whatever came of it."""
        # Type=notify-reload takes only what is younger than its signal; the clock is the host's.
        now_us = time.monotonic_ns() // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now_us}", f"STATUS={_one_line(status)}")

    def stopping(self, status: str, *, within_s: float = 0.0) -> None:
        """The service is ending. It may take ``within_s`` seconds, whatever the manager's own limit is."""
        extend = (f"EXTEND_TIMEOUT_USEC={round(within_s * 1_000_000)}",) if within_s > 0 else ()
        self._tell("STOPPING=1", f"STATUS={_one_line(status)}", *extend)

    def _tell(self, *assignments: str) -> None:
        if self._address is None:
            return
        # A NUL first is how Linux spells an abstract name (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
                manager.setblocking(False)
                manager.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            logger.warning(
                "the service manager cannot be told %(what)s: %(why)s",
                {"what": assignments[0], "why": str(error)}, extra={"event": "notify_failed"},
            )  # fmt: skip


def _one_line(text: str) -> str:
    return " ".join(text.split())
