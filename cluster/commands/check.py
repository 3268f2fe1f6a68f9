"""``rtmp-cluster check``: what is wrong with a configuration file, and what it would change."""

from __future__ import annotations

from pathlib import Path

import click

from cluster.commands.declared import FILE_OPTIONS, FILE_TABLES
from cluster.edge.node.config import OPTIONS, EdgeConfig
from cluster.process import config_file
from cluster.process.config_file import ConfigFile, Fault
from cluster.process.exit_codes import ExitCode
from cluster.process.options import ConfigError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--against", metavar="OLD", type=click.Path(path_type=Path),
    help="Say in words what FILE changes of OLD: another such file, or running, the edge of this host.",
)  # fmt: skip
def check(file: Path, against: Path | None) -> int:
    """Say everything that is wrong with FILE, a configuration file, each fault with its line."""
    read = _without_faults(file)
    if read is None:
        return ExitCode.USAGE
    click.echo(f"{file}: no faults")
    # Imported here: it is for the file's tables, and imports what they need.
    from cluster.commands import check_tables

    for warning in check_tables.warnings(read):
        click.echo(f"{read.place(warning.line)}: warning: {warning.text}")
    if against is not None:
        if str(against) == "running":
            changes = check_tables.changes_of_running(read)
        else:
            old = _without_faults(against)
            if old is None:
                return ExitCode.USAGE
            changes = check_tables.changes(old, read)
        for change in changes:
            click.echo(change)
        if not changes:
            click.echo(f"{file} says the same as {against}")
    return ExitCode.OK


def _without_faults(path: Path) -> ConfigFile | None:
    """What the file says; None if faults have been told."""
    read = config_file.read(path, FILE_OPTIONS, FILE_TABLES)
    faults = sorted({*read.faults, *_contradictions(read), *_faults_of_tables(read)})
    for fault in faults:
        click.echo(f"{read.place(fault.line)}: {fault.text}", err=True)
    return None if faults else read


def _faults_of_tables(file: ConfigFile) -> list[Fault]:
    if not file.tables:
        return []
    from cluster.edge.admission import policy

    try:
        policy.parse(file.tables)
    except policy.PolicyFaults as error:
        return [file.fault_at(path, text) for path, text in error.faults]
    return []


def _contradictions(file: ConfigFile) -> list[Fault]:
    """Values that are good alone and not together; those told of are left out, to find the next."""
    faults: list[Fault] = []
    told = set(file.bad_names)
    values = {name: value for name, value in file.values.items() if name in OPTIONS}
    while True:
        try:
            EdgeConfig(**values)
        except ConfigError as error:
            line = file.line_of(error)
            if line is not None and told.isdisjoint(error.names):
                faults.append(Fault(line, str(error)))
            told.update(error.names)
            left = {name: value for name, value in values.items() if name not in error.names}
            if left == values:
                return faults
            values = left
        else:
            return faults
