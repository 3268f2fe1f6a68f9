"""Where in a TOML file each table, key and element stands.

tomllib tells no lines. So the text is cut into statements, by its brackets and quotes, and each is parsed
alone: a statement is a table's header, or a key with its value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

#: The names of tables and keys from the outside in; of an element of a list its index, from 0.
Path: TypeAlias = tuple[str | int, ...]

#: What a text that is TOML consists of, but for blanks. A string of many lines may end in five quotes.
_TOKEN = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?!")' r"|'''.*?'''(?!')" r'|"(?:\\.|[^"\\\n])*"' r"|'[^'\n]*'"
    r"|#[^\n]*" r"|[\[\]{},=\n]" r"""|[^\s\[\]{},="'#]+""",
    re.DOTALL,
)  # fmt: skip


@dataclass(slots=True)
class _Statement:
    """``line``: where it begins. ``starts``: where each element does, if it is a key with a list."""

    line: int
    text: str = ""
    starts: list[int] = field(default_factory=list)


def key_lines(text: str) -> dict[Path, int]:
    """The line where each table, key and element is first said, in a text that is TOML."""
    import tomllib

    lines: dict[Path, int] = {}
    #: How many elements each list of tables (``[[…]]``) has so far.
    elements: dict[Path, int] = {}
    header: Path = ()
    for statement in _statements(text):
        said = tomllib.loads(statement.text)
        if statement.text.lstrip().startswith("["):
            header = _header_path(said, elements)
            _say(lines, header, statement.line)
            continue
        for key, value in said.items():
            _say(lines, (*header, key), statement.line)
            starts = dict(enumerate(statement.starts)) if isinstance(value, list) else {}
            for path in _paths_within(value):
                lines.setdefault((*header, key, *path), starts.get(_index(path), statement.line))
    return lines


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of ``path``, or of the nearest table around it that has one; None if none has."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _index(path: Path) -> int:
    return path[0] if isinstance(path[0], int) else -1


def _say(lines: dict[Path, int], path: Path, line: int) -> None:
    """A table is said where the first of what is in it is."""
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], line)


def _statements(text: str) -> Iterator[_Statement]:
    """In the order of the text, without comments that stand alone."""
    line, depth, begins = 1, 0, 0
    statement: _Statement | None = None
    #: Whether an equals sign has been seen, a list has been opened behind it, and an element may begin.
    is_key = is_list = may_begin = False
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token[0] == "#" or (token == "\n" and (depth or statement is None)):
            line += token == "\n"
            continue
        if token == "\n":
            if statement is not None:
                statement.text = text[begins : found.start()]
                yield statement
            statement, is_key, is_list, may_begin = None, False, False, False
            line += 1
            continue
        if statement is None:
            statement, begins = _Statement(line), found.start()
        if may_begin and depth == 1 and token not in "],":
            statement.starts.append(line)
            may_begin = False
        if token in "[{":
            is_list = is_list or (depth == 0 and is_key and token == "[")
            may_begin = may_begin or (depth == 0 and is_list)
            depth += 1
        elif token in "]}":
            depth -= 1
        elif token == ",":
            may_begin = is_list and depth == 1
        is_key = is_key or token == "="
        line += token.count("\n")
    if statement is not None:
        statement.text = text[begins:]
        yield statement


def _header_path(said: Any, elements: dict[Path, int]) -> Path:
    """The path that a header's keys mean: a list of tables is its newest element."""
    path: Path = ()
    while said:
        ((key, said),) = said.items()
        path = (*path, key)
        if isinstance(said, list):
            elements[path] = elements.get(path, 0) + 1
            said = said[0]
        if path in elements:
            path = (*path, elements[path] - 1)
    return path


def _paths_within(value: object) -> Iterator[Path]:
    """The path of everything in ``value``, from it inwards."""
    inside: Iterator[tuple[str | int, object]] = iter(())
    if isinstance(value, dict):
        inside = iter(value.items())
    elif isinstance(value, list):
        inside = iter(enumerate(value))
    for key, each in inside:
        yield (key,)
        for path in _paths_within(each):
            yield (key, *path)
