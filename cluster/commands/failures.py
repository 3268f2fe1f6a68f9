"""How a command that fails ends: one line on stderr and an exit code."""

from __future__ import annotations

import click

from cluster.process.exit_codes import ExitCode
from cluster.process.words import printable


def failed(code: ExitCode, why: object, program: str | None = None) -> ExitCode:
    """Say on stderr that ``program`` failed and ``why``; returns ``code``.

    The program is that of the running command. Where none runs, as while its arguments are read, the
    caller has to name it. The text may be a server's: it stays on its line and steers no terminal.
    """
    name = program or click.get_current_context().find_root().info_name
    click.echo(f"{name}: {printable(' '.join(str(why).split()))}", err=True)
    return code
