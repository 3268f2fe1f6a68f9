"""What the tables of the configuration leave to files: secrets, and keys that secrets are checked with."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cluster.core.errors import EnvironmentFault
from cluster.edge.admission.tables import FILE_SUFFIX

#: Far more than a list of secrets takes; a file of another kind, named by mistake, is not read whole.
_MOST_BYTES: Final = 1 << 16
#: The tables that may name files.
_TABLES: Final = ("signing", "jwt", "hooks")
#: The keys whose files have a value a line.
_LISTS: Final = ("secrets",)


def resolve_files(tables: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the tables in which the content of each file stands in place of its name.

    EnvironmentFault says which file cannot be used and why, and never what is in it. Faults of the tables
    themselves are left to ``parse``.
    """
    resolved = copy.deepcopy(dict(tables))
    for name, table in _with_files(resolved):
        for key in [key for key in table if key.endswith(FILE_SUFFIX)]:
            file, plain = table[key], key.removesuffix(FILE_SUFFIX)
            if isinstance(file, str) and file and plain not in table:
                text = _read(Path(file), f"{key} in [{name}]")
                del table[key]
                table[plain] = text.split() if plain in _LISTS else text
    return resolved


def _with_files(tables: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name in _TABLES:
        if isinstance(table := tables.get(name), dict):
            yield name, table
    users = tables.get("users")
    for name, table in users.items() if isinstance(users, dict) else ():
        if isinstance(table, dict):
            yield f"users.{name}", table


def _read(path: Path, what: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        text = content.decode().strip("\r\n")
    except OSError as error:
        raise EnvironmentFault(f"cannot read {path}, {what}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise EnvironmentFault(f"cannot use {path}, {what}: it is not UTF-8 text") from None
    except ValueError:  # a zero byte in its name
        raise EnvironmentFault(f"cannot read the file of {what}: its name is none") from None
    if len(content) > _MOST_BYTES:
        raise EnvironmentFault(f"cannot use {path}, {what}: it is longer than {_MOST_BYTES} bytes")
    if not text.strip():
        raise EnvironmentFault(f"cannot use {path}, {what}: it is empty")
    return text
