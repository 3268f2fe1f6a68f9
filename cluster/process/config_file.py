"""A configuration file: TOML, a table for each group of options, a key for each option.

Beside them there are tables that are no options, such as rules. They are handed on as they are, with their
lines: what they may say is known to those whom they are for.

All that is wrong with it is found in one go, and each fault is told with its line. A file is read
only when somebody names one; until then ``tomllib`` is not even imported.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.core.errors import EnvironmentFault
from cluster.process.options import ConfigError, Decimal, Option, Whole
from cluster.process.toml_lines import key_lines, line_of
from cluster.process.toml_text import quoted

#: Where tomllib says that a text is no TOML.
_TOML_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
#: What to do, where tomllib does not say it.
_TOML_HINTS = {"Invalid value": 'a text stands in quotes, such as "deny"'}
#: Windows' editors begin a file of UTF-8 with a mark.
_ENCODING = "utf-8-sig"


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something that is wrong in the file."""

    line: int
    text: str


@dataclass(slots=True)
class ConfigFile:
    """What a file says: values and their lines by the name of the option's field, and what is wrong.

    ``tables``: what is no option, by name. There may be secrets in it.
    """

    path: Path
    values: dict[str, Any] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    #: The options whose values are among the faults.
    bad_names: set[str] = field(default_factory=set)
    tables: dict[str, Any] = field(default_factory=dict, repr=False)
    #: The line of everything in the file.
    path_lines: dict[tuple[str | int, ...], int] = field(default_factory=dict, repr=False)

    def fault_at(self, path: tuple[str | int, ...], text: str) -> Fault:
        """A fault of what stands at ``path``, or of the nearest table around it."""
        return Fault(line_of(self.path_lines, path) or 1, text)

    def place(self, line: int) -> str:
        """A place in the file, as editors and compilers write it."""
        return f"{self.path}:{line}"

    def line_of(self, error: ConfigError) -> int | None:
        """The first line that says something of what ``error`` is about; None if none does."""
        return min((self.lines[name] for name in error.names if name in self.lines), default=None)

    def check(self) -> None:
        """ConfigError with the first fault, if there is one."""
        if self.faults:
            first, *others = sorted(self.faults)
            more = f" (and {len(others)} more: rtmp-cluster check {self.path})" if others else ""
            raise ConfigError(f"{self.place(first.line)}: {first.text}{more}")


def read(path: Path, options: Mapping[str, Option], tables: Collection[str] = ()) -> ConfigFile:
    """Read the file. EnvironmentFault if it cannot be read; what is wrong in it is in ``faults``.

    ``tables``: the names of those that are handed on as they are.
    """
    import tomllib

    file = ConfigFile(path)
    try:
        text = path.read_bytes().decode(_ENCODING).replace("\r\n", "\n")
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        file.faults.append(Fault(line, "is not UTF-8 text: save the file as UTF-8"))
        return file
    try:
        said = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        place = _TOML_PLACE.search(str(error))
        line = int(place[1]) if place and place[1] else text.rstrip("\n").count("\n") + 1
        why = _TOML_PLACE.sub("", str(error))
        hint = f": {_TOML_HINTS[why]}" if why in _TOML_HINTS else ""
        file.faults.append(Fault(line, f"is not TOML: {why}{hint}"))
        return file
    except (ValueError, RecursionError) as error:
        what = "lists or tables nested too deep" if isinstance(error, RecursionError) else "too many digits"
        file.faults.append(Fault(_line_that_breaks(text), f"cannot be read: {what}"))
        return file
    file.path_lines = key_lines(text)
    file.tables = {name: said.pop(name) for name in tables if name in said}
    _take(file, said, options, tables)
    return file


def _line_that_breaks(text: str) -> int:
    """The line at which tomllib gives up with an error of Python's own, which names no place."""
    import bisect
    import tomllib

    rows = text.split("\n")

    def breaks(line: int) -> bool:
        try:
            tomllib.loads("\n".join(rows[:line]))
        except tomllib.TOMLDecodeError:
            return False
        except (ValueError, RecursionError):
            return True
        return False

    return bisect.bisect_left(range(1, len(rows) + 1), True, key=breaks) + 1


def _take(
    file: ConfigFile, said: Mapping[str, Any], options: Mapping[str, Option], tables: Collection[str]
) -> None:
    by_group: dict[str, dict[str, str]] = {}
    for name, option in options.items():
        by_group.setdefault(option.group, {})[option.key] = name
    known_tables = {**by_group, **{table: {} for table in tables}}
    lines = file.path_lines
    for group, table in said.items():
        if group not in by_group:
            what = f"table [{group}]" if isinstance(table, dict) else f"key {group!r}"
            file.faults.append(Fault(lines[group,], _unknown(what, group, known_tables)))
        elif not isinstance(table, dict):
            text = f"{group!r} is a table: write [{group}] once, and its keys below"
            file.faults.append(Fault(lines[group,], text))
        else:
            for key, value in table.items():
                if (known := by_group[group].get(key)) is not None:
                    _take_value(file, known, options[known], value, lines[group, key])
                else:
                    text = _unknown(f"key {key!r} in [{group}]", key, {**by_group, "": by_group[group]})
                    file.faults.append(Fault(lines[group, key], text))


def _take_value(file: ConfigFile, name: str, option: Option, value: object, line: int) -> None:
    file.lines[name] = line
    try:
        file.values[name] = from_toml(option, value)
    except ValueError as error:
        file.bad_names.add(name)
        file.faults.append(Fault(line, f"{option.key} in [{option.group}]: {error}"))


def _unknown(what: str, word: str, by_group: Mapping[str, Mapping[str, str]]) -> str:
    """What is said of a key or table that nobody knows. The group "" is the one where the key stands."""
    import difflib

    text = f"unknown {what}"
    if homes := [f"[{group}]" for group, keys in by_group.items() if group and word in keys]:
        return f"{text}: it belongs in {' or '.join(homes)}"
    known = list(by_group.get("", by_group))
    if near := difflib.get_close_matches(word, known, 1):
        return f"{text}: did you mean {near[0]!r}?"
    return f"{text}: there are {', '.join(known)}"


def from_toml(option: Option, value: object) -> object:
    """The option's value; ValueError says what is accepted instead of ``value``."""
    if not option.repeatable:
        return option.parse(_text(option, value))
    if not isinstance(value, list):
        raise ValueError(f'must be a list, such as {option.key} = ["{option.metavar}"]')
    texts = [_text(option, each) for each in value]
    try:
        return tuple(map(option.parse, texts))
    except ValueError:
        for text in texts:
            if several := option.several_in(text):
                listed = ", ".join(map(quoted, several))
                raise ValueError(f"{text!r}: each is a text of its own, as in [{listed}]") from None
        raise


def _text(option: Option, value: object) -> str:
    if option.is_switch:
        if not isinstance(value, bool):
            raise ValueError("must be true or false, without quotes")
        return "true" if value else "false"
    if isinstance(option.parse, Whole):
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError("must be a whole number, without quotes")
    elif isinstance(option.parse, Decimal):
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError("must be a number, without quotes")
    elif not isinstance(value, str):
        raise ValueError(f'must be text in quotes, such as "{option.metavar}"')
    try:
        return str(value)
    except ValueError:  # Python's bound; in hex, TOML has no bound
        raise ValueError("has too many digits") from None


def to_toml(option: Option, value: Any) -> str:
    """The value as ``from_toml`` understands it."""
    if option.repeatable:
        return f"[{', '.join(quoted(str(each)) for each in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else quoted(str(value))
