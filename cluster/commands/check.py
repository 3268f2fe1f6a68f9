"""``rtmp-cluster check``: what is wrong with a configuration file."""

from __future__ import annotations

from pathlib import Path

import click

from cluster.commands.declared import FILE_OPTIONS
from cluster.edge.node.config import OPTIONS, EdgeConfig
from cluster.process import config_file
from cluster.process.config_file import ConfigFile, Fault
from cluster.process.exit_codes import ExitCode
from cluster.process.options import ConfigError


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def check(file: Path) -> int:
    """Say everything that is wrong with FILE, a configuration file, each fault with its line."""
    read = config_file.read(file, FILE_OPTIONS)
    faults = sorted({*read.faults, *_contradictions(read)})
    for fault in faults:
        click.echo(f"{read.place(fault.line)}: {fault.text}", err=True)
    if faults:
        return ExitCode.USAGE
    click.echo(f"{file}: no faults")
    return ExitCode.OK


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
