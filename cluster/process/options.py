"""Options: each is a field of a dataclass, declared once; all else about it follows from that.

A declaration has the flag, how its text is read and checked, the default, the help and the group.
From these follow the command line, the environment variable (``RTMP_CLUSTER_`` and the flag's name),
the key in a configuration file, and the table in the documentation.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.core.errors import ClusterError

#: What the name of each variable begins with.
PREFIX = "RTMP_CLUSTER_"


class ConfigError(ClusterError):
    """An option has a value that it cannot have; the text names the option and what it accepts.

    ``names`` are the fields that the error is about, if it is known.
    """

    def __init__(self, text: str, names: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.names = names


@dataclass(frozen=True, slots=True)
class Whole:
    """Reads a whole number from ``low`` to ``high``."""

    low: int
    high: int

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number{_without_unit(text)}") from None
        if not self.low <= value <= self.high:
            raise ValueError(f"{text} is not from {self.low} to {self.high}")
        return value


@dataclass(frozen=True, slots=True)
class Decimal:
    """Reads a number from ``low`` to ``high``."""

    low: float
    high: float

    def __call__(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number{_without_unit(text)}") from None
        if not self.low <= value <= self.high:  # also refuses nan
            raise ValueError(f"{text} is not from {self.low:g} to {self.high:g}")
        return value


def _without_unit(text: str) -> str:
    """What to do about a number with a unit, as 30s and 64M are."""
    return ": write it without a unit" if re.fullmatch(r"[0-9.]+ ?[A-Za-z]+", text) else ""


def one_of(*values: str) -> Callable[[str], str]:
    """Reads one of these words."""

    def parse(text: str) -> str:
        if text not in values:
            raise ValueError(f"{text!r} is not one of {', '.join(values)}")
        return text

    return parse


def yes_or_no(text: str) -> bool:
    """Reads ``true`` or ``false``."""
    if text not in ("true", "false"):
        raise ValueError(f"{text!r} is not true or false")
    return text == "true"


def secret(text: str) -> str:
    """Reads a secret, which no message repeats."""
    if not text or not text.isprintable():
        raise ValueError("it must be visible characters, one at least")
    return text


def file_name(text: str) -> Path:
    """Reads the name of a file, which need not exist."""
    if not text or "\0" in text:
        raise ValueError(f"{text!r} is not the name of a file")
    return Path(text)


@dataclass(frozen=True, slots=True)
class Option:
    """How one field of a configuration is spelled, read and explained.

    ``parse`` turns text into the value and raises ValueError, which says what is accepted; a value
    that does not come back from its own text is refused as well.
    """

    flag: str
    parse: Callable[[str], object]
    metavar: str
    help: str
    default_text: str
    repeatable: bool
    group: str
    #: Two commands have a ``--bind``; the variable of one of them has a word more.
    env_words: str
    #: The value is shown nowhere.
    is_secret: bool = False

    @property
    def env(self) -> str:
        """The environment variable."""
        return PREFIX + self.env_words.replace("-", "_").upper()

    @property
    def key(self) -> str:
        """The key in its group's table of a configuration file: what names a file says so."""
        words = self.flag.removeprefix("--").replace("-", "_")
        return f"{words}_file" if self.parse is file_name else words

    @property
    def is_switch(self) -> bool:
        """The flag alone turns it on."""
        return self.parse is yes_or_no

    def several_in(self, text: str) -> list[str]:
        """The values that ``text`` has, if it is two or more with commas or blanks between; else none."""
        parts = [part for part in re.split(r"[,;\s]+", text) if part]
        if not self.repeatable or parts == [text]:
            return []
        try:
            for part in parts:
                self.parse(part)
        except ValueError:
            return []
        return parts

    def text_of(self, value: object) -> str:
        """What ``parse`` reads as ``value`` again."""
        return str(value).lower() if self.is_switch else str(value)


def option(
    flag: str,
    parse: Callable[[str], object],
    metavar: str,
    help: str,
    default: Any,
    *,
    group: str,
    default_text: str | None = None,
    repeatable: bool = False,
    env_words: str | None = None,
    is_secret: bool = False,
) -> Any:
    """A field with its declaration; a callable ``default`` is asked each time."""
    if default_text is None:
        default_text = f"{default:g}" if isinstance(default, float) else str(default)
    if env_words is None:
        # What --cluster-key is for is said by the prefix already: RTMP_CLUSTER_KEY.
        env_words = flag.removeprefix("--").removeprefix("cluster-")
    declared = Option(flag, parse, metavar, help, default_text, repeatable, group, env_words, is_secret)
    if is_secret:
        return field(default=default, repr=False, metadata={"option": declared})
    if callable(default):
        return field(default_factory=default, metadata={"option": declared})
    return field(default=default, metadata={"option": declared})


def declared_in(config: type) -> Mapping[str, Option]:
    """Every option of a dataclass by the name of its field."""
    return {each.name: each.metadata["option"] for each in dataclasses.fields(config)}
