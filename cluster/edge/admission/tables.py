"""Reading one table of the configuration: each value is checked, and all that is wrong is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cluster.edge.admission.interfaces import Path

#: Keys that name a file have this at their end; what is in the file stands under the key without it.
FILE_SUFFIX = "_file"


class Table:
    """A table, where it stands, and what people call it. Faults go to the list that all tables share.

    Each value is asked for by its key, and then ``refuse_others`` refuses those that nobody has asked for.
    No text repeats a value that may be a secret.
    """

    def __init__(
        self, values: Mapping[str, Any], path: Path, name: str, faults: list[tuple[Path, str]]
    ) -> None:
        self._values = values
        self.path = path
        self.name = name
        self._faults = faults
        self._asked: list[str] = []
        #: What has to be there and is not. Perhaps it is, under a name that nobody knows.
        self._missing = ""

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def names(self) -> list[str]:
        """All its keys, as people chose them."""
        return list(self._values)

    def fault(self, key: str, text: str) -> None:
        """Something is wrong with the value of ``key``."""
        self._faults.append(((*self.path, key), f"{key} in {self.name}: {text}"))

    def value(self, key: str) -> Any:
        """The value as it is, None if there is none."""
        if key not in self._asked:
            self._asked.append(key)
        return self._values.get(key)

    def text(self, key: str, such_as: str = "…") -> str | None:
        value = self.value(key)
        if value is None or (isinstance(value, str) and value):
            return value
        self.fault(key, "is empty" if value == "" else f'must be text in quotes, such as "{such_as}"')
        return None

    def word(self, key: str, words: tuple[str, ...], default: str) -> str:
        value = self.value(key)
        if value is None or (isinstance(value, str) and value in words):
            return default if value is None else value
        self.fault(key, f"must be one of {', '.join(words)}, in quotes")
        return default

    def flag(self, key: str) -> bool:
        value = self.value(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.fault(key, "must be true or false, without quotes")
        return False

    def number(self, key: str, low: float, high: float, default: float) -> float:
        value = self.value(key)
        if value is None:
            return default
        if not isinstance(value, int | float) or isinstance(value, bool):
            self.fault(key, "must be a number, without quotes")
        elif not low <= value <= high:
            self.fault(key, f"must be from {low:g} to {high:g}")
        else:
            return float(value)
        return default

    def texts(self, key: str, such_as: str = "…") -> tuple[str, ...] | None:
        value = self.value(key)
        if value is None:
            return None
        if isinstance(value, list) and value and all(isinstance(each, str) and each for each in value):
            return tuple(value)
        self.fault(key, f'must be a list of texts, such as ["{such_as}"], with one at least')
        return None

    def table(self, key: str, name: str) -> Table | None:
        """The table below ``key``."""
        value = self.value(key)
        if value is None or isinstance(value, dict):
            return None if value is None else Table(value, (*self.path, key), name, self._faults)
        self.fault(key, "must be a table")
        return None

    def one_of(self, *keys: str) -> str | None:
        """The only one of ``keys`` that is there, or the file that stands for it; else a fault, which of
        none waits for ``refuse_others``."""
        found = [
            each for key in keys for each in (key, key + FILE_SUFFIX)
            if self.value(each) is not None
        ]  # fmt: skip
        if len(found) == 1:
            return found[0]
        wanted = f"one of {', '.join(keys)}" if len(keys) > 1 else keys[0]
        if found:
            self.fault(found[1], f"only one is possible, and {found[0]} is there too")
        else:
            self._missing = f"{self.name} needs {wanted}, or a file ({keys[0]}{FILE_SUFFIX})"
        return None

    def refuse_others(self) -> None:
        """A fault for each key that nobody has asked for, else for what ``one_of`` has not found."""
        import difflib

        others = [key for key in self._values if key not in self._asked]
        for key in others:
            shown = [each for each in self._asked if not each.endswith(FILE_SUFFIX)]
            near = difflib.get_close_matches(key, self._asked, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(shown)}"
            self._faults.append(((*self.path, key), f"unknown key {key!r} in {self.name}: {hint}"))
        if self._missing and not others:
            self._faults.append((self.path, self._missing))
