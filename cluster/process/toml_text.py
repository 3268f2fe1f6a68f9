"""Values as TOML writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def quoted(text: str) -> str:
    """The text between quotes, with nothing in it that a terminal or a log would take for its own."""
    import json

    # JSON's escapes are TOML's, but for DEL, which TOML wants escaped and JSON does not.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def key(name: str) -> str:
    return name if _BARE.fullmatch(name) else quoted(name)


def value(of: object) -> str:
    """On one line; tables are inline ones."""
    if isinstance(of, bool):
        return "true" if of else "false"
    if isinstance(of, Mapping):
        inside = ", ".join(f"{key(name)} = {value(each)}" for name, each in of.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(of, list | tuple):
        return f"[{', '.join(map(value, of))}]"
    return quoted(of) if isinstance(of, str) else str(of)


def lines(tables: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """The tables of a file: each, and each of a list or table of tables, under a header of its own. Before
    each line its path, none for a blank one."""
    for name, table in tables.items():
        if _are_tables(table):
            for index, each in enumerate(table):
                yield from _table((name, index), f"[[{key(name)}]]", each)
        elif isinstance(table, Mapping) and table and _are_tables(list(table.values())):
            for inner, each in table.items():
                yield from _table((name, inner), f"[{key(name)}.{key(inner)}]", each)
        elif isinstance(table, Mapping):
            yield from _table((name,), f"[{key(name)}]", table)


def _are_tables(each: object) -> bool:
    return isinstance(each, list) and all(isinstance(table, Mapping) for table in each)


def _table(
    path: tuple[str | int, ...], header: str, table: Mapping[str, Any]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    yield (), ""
    yield path, header
    for name, each in table.items():
        yield (*path, name), f"{key(name)} = {value(each)}"
