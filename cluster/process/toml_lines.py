"""Where in a TOML file each table, key and element stands.

tomllib tells no lines. So the text is cut into statements, the shortest runs of lines that are TOML by
themselves, and each is parsed alone: a statement is a table's header, or a key with its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

#: The names of tables and keys from the outside in; of an element of a list its index, from 0.
Path: TypeAlias = tuple[str | int, ...]


def key_lines(text: str) -> dict[Path, int]:
    """The line where each table, key and element is first said, in a text that is TOML."""
    lines: dict[Path, int] = {}
    #: How many elements each list of tables (``[[…]]``) has so far.
    elements: dict[Path, int] = {}
    header: Path = ()
    for line, rows, said in _statements(text):
        if rows[0].lstrip().startswith("["):
            header = _header_path(said, elements)
            _say(lines, header, line)
        else:
            for key, value in said.items():
                _say(lines, (*header, key), line)
                starts = _element_lines(rows, line, value) if isinstance(value, list) else {}
                for path in _paths_within(value):
                    first = path[0]
                    lines.setdefault((*header, key, *path), starts.get(first, line))
    return lines


def line_of(lines: Mapping[Path, int], path: Path) -> int | None:
    """The line of ``path``, or of the nearest table around it that has one; None if none has."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _say(lines: dict[Path, int], path: Path, line: int) -> None:
    """A table is said where the first of what is in it is."""
    for length in range(1, len(path) + 1):
        lines.setdefault(path[:length], line)


def _statements(text: str) -> Iterator[tuple[int, list[str], dict[str, Any]]]:
    """The line where each statement begins, its lines, and what it says alone."""
    import tomllib

    pending: list[str] = []
    for number, row in enumerate(text.split("\n"), 1):
        pending.append(row)
        try:
            said = tomllib.loads("\n".join(pending))
        except tomllib.TOMLDecodeError:
            continue  # it goes on in the next line
        if said:
            yield number - len(pending) + 1, list(pending), said
        pending.clear()


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


def _element_lines(rows: list[str], line: int, value: list[Any]) -> dict[str | int, int]:
    """The line where each element of a list begins that is the value of a key, and goes over ``rows``.

    As often as the rows so far, with the list closed behind them, are TOML, the elements in them are
    whole, and the next one begins below.
    """
    import tomllib

    found: dict[str | int, int] = {}
    begins = line
    for number in range(1, len(rows) + 1) if len(rows) > 1 else ():
        try:
            said = tomllib.loads("\n".join(rows[:number]) + "\n]")
        except tomllib.TOMLDecodeError:
            continue
        ((_, so_far),) = said.items()
        for index in range(len(found), len(so_far)):
            found[index] = begins
        begins = line + number
    for index in range(len(found), len(value)):
        found[index] = begins  # the last row closes the list itself
    return found
