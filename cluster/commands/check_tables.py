"""What ``check`` says beyond faults: what may not be meant, and what one file changes of another."""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.commands.declared import FILE_OPTIONS
from cluster.commands.policy_note import of_running, shown_options
from cluster.commands.policy_tables import policy_tables
from cluster.core.errors import EnvironmentFault
from cluster.edge.admission import policy
from cluster.edge.admission.policy_words import differences, is_secret, sealed
from cluster.edge.admission.rules import ACTIONS, Pattern
from cluster.edge.node.policy_in_force import publish_key
from cluster.edge.node.policy_source import OPEN_TO_ALL
from cluster.process.config_file import ConfigFile, Fault
from cluster.process.toml_text import quoted
from cluster.router.config import OPTIONS as ROUTER_OPTIONS

_Path = tuple[str | int, ...]

#: What means something in the patterns of other programs, and here itself.
_OF_OTHER_PATTERNS = re.compile(r"^[~^]|\[.*\]|\{.*\}|\(.*\)|\.\*|\$$")
#: Whoever has a link can try out secrets as fast as its computers hash.
_SHORTEST_SIGNING_SECRET = 16


def warnings(file: ConfigFile) -> list[Fault]:
    """What is well written and perhaps not meant, each with its line. The file has no faults."""
    ways = (
        _openness, _never_matching, _meant_otherwise, _unused, _guessable, _unguarded, _unresolved,
    )  # fmt: skip
    return sorted({fault for way in ways for fault in way(file)})


def _openness(file: ConfigFile) -> Iterator[Fault]:
    tables = policy_tables(file.values, file.tables)
    parsed = policy.parse(tables, publish_key(tables))
    if not parsed.is_open:
        for sentence in parsed.opens():
            yield file.fault_at(("rule",), sentence)
    elif file.tables or not _is_a_routers(file):
        yield Fault(1, OPEN_TO_ALL)


def _is_a_routers(file: ConfigFile) -> bool:
    """It says something of a router, and nothing of an edge."""
    return bool(file.values) and all(name in ROUTER_OPTIONS for name in file.values)


def _never_matching(file: ConfigFile) -> Iterator[Fault]:
    """What rules say of an action for keys that earlier rules have decided about already."""
    rules = file.tables.get("rule", [])
    for action in ACTIONS:
        decided: list[tuple[int, Pattern]] = []
        for index, rule in enumerate(rules):
            if action not in rule:
                continue
            if action == "publish" and "publish_key" in file.values:
                text = "never decides: publish_key in [access] says who may publish, whatever the stream"
                yield file.fault_at(("rule", index, action), text)
                continue
            text = rule["match"].strip("/")
            # An asterisk in ``text`` is matched by none but one of the earlier pattern.
            if (by := next((n for n, earlier in decided if earlier.matches(text)), None)) is not None:
                yield file.fault_at(
                    ("rule", index, action),
                    f"never decides: rule {by + 1} has already said who may {action} all that "
                    f'"{rule["match"]}" matches',
                )
            decided.append((index, Pattern(text)))


def _meant_otherwise(file: ConfigFile) -> Iterator[Fault]:
    """Patterns as other programs have them, which match no stream here."""
    for name in ("rule", "limit"):
        for index, table in enumerate(file.tables.get(name, [])):
            match, path = table["match"], (name, index, "match")
            if _OF_OTHER_PATTERNS.search(match):
                yield file.fault_at(path, f'in "{match}", * is any characters, and all else is itself')
            if "publishers" in table and match.endswith("/*"):
                app = match.removesuffix("/*")
                text = f'publishers are those of an app: "{match}" is {app}/a and such, and not {app}'
                yield file.fault_at(path, text)


def _unused(file: ConfigFile) -> Iterator[Fault]:
    """What no rule asks for, and so keeps nobody out."""
    tables = file.tables
    terms = [
        (action, rule[action])
        for rule in tables.get("rule", []) for action in ACTIONS if isinstance(rule.get(action), dict)
    ]  # fmt: skip
    users = {name for _, each in terms for name in each.get("users", [])}
    for name in tables.get("users", {}):
        if name not in users:
            yield file.fault_at(("users", name), f"no rule names this user: users = [{quoted(name)}]")
    for name, way in (("signing", "signed"), ("jwt", "jwt")):
        if name in tables and not any(each.get(way) for _, each in terms):
            yield file.fault_at((name,), f"no rule asks for it: {way} = true")
    asked = {action for action, each in terms if each.get("hook")}
    for action in ACTIONS:
        if action in tables.get("hooks", {}) and action not in asked:
            text = f"nobody is asked: no rule says {action} = {{ hook = true }}"
            yield file.fault_at(("hooks", action), text)


def _guessable(file: ConfigFile) -> Iterator[Fault]:
    for secret in file.tables.get("signing", {}).get("secrets", []):
        if len(secret) < _SHORTEST_SIGNING_SECRET:
            text = "a secret so short is guessed by who has a link: openssl rand -base64 32 makes another"
            yield file.fault_at(("signing", "secrets"), text)


def _unguarded(file: ConfigFile) -> Iterator[Fault]:
    """Secrets in files that every user of the host can read."""
    first_here: _Path | None = None
    for path, value in _values(file.tables, ()):
        key = str(path[-1])
        if key.endswith("_file") and is_secret(key.removesuffix("_file")):
            if _is_readable_by_all(Path(value)):
                yield file.fault_at(path, f"every user of this host can read {value}: chmod o-r it")
        elif is_secret(key):
            first_here = first_here or path
    if "publish_key" in file.values:
        first_here = ("access", "publish_key")
    if first_here is not None and _is_readable_by_all(file.path):
        yield file.fault_at(
            first_here, f"every user of this host can read {file.path}, and a secret is in it: chmod o-r it"
        )


def _values(tables: Any, path: _Path) -> Iterator[tuple[_Path, Any]]:
    """Every key with its value, of tables at any depth."""
    if isinstance(tables, Mapping):
        for key, value in tables.items():
            yield (*path, key), value
            yield from _values(value, (*path, key))
    elif isinstance(tables, list):
        for index, each in enumerate(tables):
            yield from _values(each, (*path, index))


def _is_readable_by_all(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(path.stat().st_mode & stat.S_IROTH)
    return False


def _unresolved(file: ConfigFile) -> Iterator[Fault]:
    """Files that the tables name and that cannot be used: they may stand on another host."""
    try:
        tables = policy.resolve_files(file.tables)
    except EnvironmentFault as error:
        yield Fault(_line_of_files(file), f"{error}: here it would not start")
        return
    try:
        policy.parse(tables)
    except policy.PolicyFaults as error:
        for path, text in error.faults:
            yield file.fault_at(path, f"{text}: here it would not start")


def _line_of_files(file: ConfigFile) -> int:
    """Of the first file that is named."""
    paths = (path for path, _ in _values(file.tables, ()) if str(path[-1]).endswith("_file"))
    return min((file.fault_at(path, "").line for path in paths), default=1)


def changes(old: ConfigFile, new: ConfigFile) -> list[str]:
    """What differs, a sentence each: what a reload changes, and then what takes a restart."""
    found = differences(_all_tables(old), _all_tables(new))
    return found + _changed_options(shown_options(old.values), shown_options(new.values))


def changes_of_running(new: ConfigFile) -> list[str]:
    """The difference to what the edge of this host goes by. ConfigError if not one edge runs."""
    running = of_running()
    found = differences(running.tables, sealed(_all_tables(new), running.salt))
    return found + _changed_options(running.options, shown_options(new.values))


def _changed_options(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [
        f"{option.key} in [{option.group}] changed from {old.get(name, option.default_text)} to "
        f"{new.get(name, option.default_text)}: this takes a restart"
        for name, option in FILE_OPTIONS.items()
        if old.get(name) != new.get(name)
    ]


def _all_tables(file: ConfigFile) -> dict[str, Any]:
    """The tables with what is in files, as far as that can be read here."""
    tables = policy_tables(file.values, file.tables)
    with contextlib.suppress(EnvironmentFault):
        return policy.resolve_files(tables)
    return tables
