"""``rtmp-cluster``, also as ``python -m cluster``: the command line, where the host has what it needs.

What it lacks is said before anything else is imported, which would end in a traceback.
"""

import select
import sys
from typing import NoReturn

from cluster.process.exit_codes import ExitCode

_LEAST_PYTHON = (3, 11)


def main() -> None:
    """The ``rtmp-cluster`` command."""
    if sys.version_info < _LEAST_PYTHON:
        least, this = (".".join(map(str, each[:2])) for each in (_LEAST_PYTHON, sys.version_info))
        _fail(f"Python {least} or newer is needed, and this is {this}: run it with another one")
    if not hasattr(select, "epoll"):
        _fail("it runs on Linux, for it needs epoll, which this system does not have: use a container")
    try:
        from cluster.commands.main import main as run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "cluster":
            raise
        _fail(f"the package {error.name} is missing: run it where pip install has put rtmp-cluster")
    run()


def _fail(why: str) -> NoReturn:
    print(f"rtmp-cluster: {why}", file=sys.stderr)
    sys.exit(ExitCode.ENVIRONMENT)


if __name__ == "__main__":
    main()
