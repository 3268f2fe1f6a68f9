"""What the process's exit code says, the same for every command."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """1 is left to Python: a bug of ours, with its traceback on stderr."""

    #: Ended because it was asked to (SIGTERM, SIGINT), or only printed help or the version.
    OK = 0
    #: An unknown option, or a value that does not parse: an address, a router address, a number.
    USAGE = 2
    #: The host does not give what was asked for: the port is taken, the address is not ours.
    ENVIRONMENT = 3
    #: A worker cannot boot. A worker process and the node it brings down end with the same code.
    WORKER_BOOT = 4
    #: Of a worker process only: its supervisor is gone.
    ORPHANED = 5
    #: Of the commands in the client role: no connection to the server, or no answer from it in time.
    UNREACHABLE = 6
    #: Of the commands in the client role: the server said no, or ended it before the command was done.
    REFUSED = 7
