"""The commands in a document, as a reader would type them: in their order, and on which host.

An indented block is commands. A fence (```) is something else: ``text`` right behind commands is what they
print, and other fences are programs and pictures. What the prose in front of a block says counts too:

- "On 10.0.0.2:", "On 10.0.0.2 and 10.0.0.3:", "On every host:" say where. It holds until the next heading.
- "Ctrl-C" ends whatever the document has started.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

#: Where a command is typed if the document does not say.
FIRST_HOST = "10.0.0.1"

_INDENT = "    "
_ADDRESS = re.compile(r"10\.0\.0\.\d+")
_ON_HOSTS = re.compile(rf"\bOn ((?:`?{_ADDRESS.pattern}`?(?:, | and )?)+|every host)")
_HERE_DOCUMENT = re.compile(r"<<-?\s*['\"]?(\w+)")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a document. ``prints``: lines shown below its block, if it is the block's last."""

    document: str
    line: int
    hosts: tuple[str, ...]
    text: str
    prints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """Here the document says Ctrl-C."""


Step = Command | Ended


def documents() -> list[str]:
    """Every document that tells people what to type, by its path in the project."""
    shown = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "deploy" / "README.md"]
    paths = [*shown, *sorted((ROOT / "docs").glob("*.md"))]
    return [str(path.relative_to(ROOT)) for path in paths]


def read(document: str) -> list[Step]:
    return list(steps(document, (ROOT / document).read_text()))


def hosts_of(found: list[Step]) -> list[str]:
    """Every host that something is typed on, the first host first."""
    typed = [step for step in found if isinstance(step, Command)]
    return sorted({FIRST_HOST, *(host for command in typed for host in command.hosts)})


def steps(document: str, text: str) -> Iterator[Step]:
    named_hosts = (host for named in _ON_HOSTS.findall(text) for host in _ADDRESS.findall(named))
    every_host = tuple(sorted({FIRST_HOST, *named_hosts}))
    hosts: tuple[str, ...] = (FIRST_HOST,)
    pieces = list(_pieces(text))
    for number, (kind, line, lines) in enumerate(pieces):
        if kind == "heading":
            hosts = (FIRST_HOST,)
        elif kind == "prose":
            prose = " ".join(lines)
            if "Ctrl-C" in prose:
                yield Ended()
            for named in _ON_HOSTS.findall(prose):
                hosts = tuple(_ADDRESS.findall(named)) or every_host
        elif kind == "commands":
            behind = pieces[number + 1] if number + 1 < len(pieces) else ("", 0, [])
            prints = tuple(behind[2]) if behind[0] == "text" else ()
            typed = list(_commands(line, lines))
            for at, command in typed:
                yield Command(document, at, hosts, command, prints if at == typed[-1][0] else ())


def _pieces(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """(kind, number of its first line, lines) of each heading, fence, indented block and paragraph."""
    lines = text.splitlines()
    at = 0
    while at < len(lines):
        first = lines[at]
        end = at + 1
        if first.startswith("```"):
            while end < len(lines) and lines[end] != "```":
                end += 1
            yield first.removeprefix("```") or "text", at + 1, lines[at + 1 : end]
            end += 1
        elif first.startswith("#"):
            yield "heading", at + 1, [first]
        elif first.startswith(_INDENT):
            while end < len(lines) and (lines[end].startswith(_INDENT) or _goes_on(lines, end)):
                end += 1
            yield "commands", at + 1, [line.removeprefix(_INDENT) for line in lines[at:end]]
        elif first:
            while end < len(lines) and lines[end] and not lines[end].startswith("```"):
                end += 1
            yield "prose", at + 1, lines[at:end]
        at = end


def _goes_on(lines: list[str], at: int) -> bool:
    """Whether the blank line ``at`` stands inside an indented block."""
    return not lines[at] and at + 1 < len(lines) and lines[at + 1].startswith(_INDENT)


def _commands(first: int, lines: list[str]) -> Iterator[tuple[int, str]]:
    """(line number, text) of each command. It may go on behind a backslash, in quotes, in a here-document,
    and up to the ``done`` of a loop."""
    typed: list[str] = []
    for number, line in enumerate(lines, first):
        if not typed and (not line.strip() or line.startswith("#")):
            continue
        typed.append(line)
        if _is_whole("\n".join(typed)):
            yield number - len(typed) + 1, "\n".join(typed)
            typed = []
    if typed:
        raise ValueError(f"line {first}: a command that does not end: {typed[0]}")


def _is_whole(typed: str) -> bool:
    if word := _HERE_DOCUMENT.search(typed):
        return typed.endswith(f"\n{word[1]}")
    if typed.startswith("for "):
        return typed.endswith("\ndone")
    try:
        shlex.split(typed, comments=True)
    except ValueError:
        return False
    return not typed.endswith("\\")
