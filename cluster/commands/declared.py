"""Declared options as a command takes them: a flag goes before a variable, and that before the file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cluster.edge.node.config import OPTIONS as EDGE_OPTIONS
from cluster.process import variables
from cluster.process.options import ConfigError, Option
from cluster.router.config import OPTIONS as ROUTER_OPTIONS

if TYPE_CHECKING:
    from cluster.process.config_file import ConfigFile

#: What a configuration file may have: one file can serve the edge and the router of a host.
FILE_OPTIONS: Mapping[str, Option] = {**EDGE_OPTIONS, **ROUTER_OPTIONS}

#: And its tables that are no options.
FILE_TABLES = ("rule", "users", "signing", "jwt", "hooks", "limit")

config_file_option = click.option(
    "--config", "config_file", metavar="FILE", type=click.Path(path_type=Path),
    help="Read options from this TOML file too; flags and variables go before it.",
)  # fmt: skip


@dataclass(slots=True)
class Given:
    """The values that somebody gave, and where, by the name of the option's field."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    #: The file's line of each value that is the file's, as FILE:LINE.
    places: dict[str, str] = field(default_factory=dict)
    #: The file; None if none was named.
    file: ConfigFile | None = None

    @property
    def tables(self) -> Mapping[str, Any]:
        """The file's tables that are no options."""
        return {} if self.file is None else self.file.tables

    def values_of(self, options: Mapping[str, Option]) -> dict[str, Any]:
        """The values of these options, for the dataclass that declares them."""
        return {name: value for name, value in self.values.items() if name in options}

    def placed(self, error: ConfigError) -> ConfigError:
        """The error, with the file and line that it is about if the file gave that value."""
        for name in error.names:
            if name in self.places:
                return ConfigError(f"{self.places[name]}: {error}", error.names)
        return error


def declared(
    options: Mapping[str, Option], *names: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Click options for all of these options, or those of these names."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for name in reversed(names or tuple(options)):
            option = options[name]
            described = f"{option.help}  [default: {option.default_text}]"
            if option.is_switch:
                kind: dict[str, Any] = {"is_flag": True, "help": described}
            else:
                kind = {
                    "metavar": option.metavar, "multiple": option.repeatable, "callback": _reader(option),
                    "help": described,
                }  # fmt: skip
            command = click.option(option.flag, name, envvar=option.env, show_envvar=True, **kind)(command)
        return command

    return decorate


def _reader(option: Option) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Reads an option's text as its declaration says."""

    def read(ctx: click.Context, param: click.Parameter, text: Any) -> Any:
        try:
            if option.repeatable:
                return tuple(map(option.parse, text))
            if text is None and option.is_secret and os.environ.get(option.env) == "":
                # For click it is not there. But whoever sets it does not mean to be open to all.
                raise ValueError("the variable is empty: give it the secret, or unset it")
            return None if text is None else option.parse(text)
        except ValueError as error:
            for each in text if option.repeatable else ():
                if option.several_in(each):
                    raise click.BadParameter(_how_several(option, each, ctx, param), ctx, param) from None
            raise click.BadParameter(str(error), ctx, param) from None

    return read


def _how_several(option: Option, text: str, ctx: click.Context, param: click.Parameter) -> str:
    """How to give what somebody has given in one text."""
    if param.name and ctx.get_parameter_source(param.name) is ParameterSource.ENVIRONMENT:
        return f"{text!r}: several stand in {option.env} with a blank between them"
    return f"{text!r}: several are given by {option.flag} for each of them"


_CHANGES_NOTHING = "%(variable)s is no variable of rtmp-cluster and changes nothing: %(advice)s"


def warn_of_unknown_variables(logger: logging.Logger) -> None:
    """A line in the log for each variable of our prefix that no command reads."""
    for fields in _unknown_variables():
        logger.warning(_CHANGES_NOTHING, fields, extra={"event": "unknown_variable"})


def say_unknown_variables() -> None:
    """The same on stderr, for a command without a log."""
    for fields in _unknown_variables():
        click.echo(_CHANGES_NOTHING % fields, err=True)


def _unknown_variables() -> Iterator[dict[str, str]]:
    for name, advice in variables.unknown(os.environ, FILE_OPTIONS.values()):
        yield {"variable": name, "advice": advice}


def given(options: Mapping[str, Option], values: Mapping[str, Any], path: Path | None = None) -> Given:
    """What the current command was given; a default stays where it is declared.

    ConfigError with the line of the first fault, if something is wrong with the file at ``path``.
    """
    found = Given()
    if path is not None:
        from cluster.process import config_file

        file = found.file = config_file.read(path, FILE_OPTIONS, FILE_TABLES)
        file.check()
        found.values |= file.values
        found.places |= {name: file.place(line) for name, line in file.lines.items()}
        found.sources |= found.places
    for name, value in values.items():
        source = click.get_current_context().get_parameter_source(name)
        is_flag = source is ParameterSource.COMMANDLINE
        if value is None or value == () or not (is_flag or source is ParameterSource.ENVIRONMENT):
            continue
        found.values[name] = value
        found.sources[name] = options[name].flag if is_flag else options[name].env
        found.places.pop(name, None)
    return found


def as_toml(options: Mapping[str, Option], config: object, sources: Mapping[str, str]) -> Iterator[str]:
    """The lines of a file that says what is in force, each value with where it came from."""
    from cluster.process.config_file import to_toml

    groups = dict.fromkeys(option.group for option in options.values())
    for number, group in enumerate(groups):
        yield f"\n[{group}]" if number else f"[{group}]"
        for name, option in options.items():
            if option.group != group:
                continue
            value = getattr(config, name)
            source = sources.get(name, "default")
            if value is None:
                yield f"# {option.key}: {option.default_text}  # {source}"
            elif option.is_secret:
                yield f"# {option.key}: given, and not shown  # {source}"
            else:
                yield f"{option.key} = {to_toml(option, value)}  # {source}"


def tables_as_toml(file: ConfigFile) -> Iterator[str]:
    """The tables that are no options, as TOML; in place of each secret stands a mask."""
    from cluster.edge.admission.policy_words import masked
    from cluster.process.toml_text import lines

    for path, text in lines(masked(file.tables)):
        yield f"{text}  # {file.place(file.fault_at(path, '').line)}" if path else text
