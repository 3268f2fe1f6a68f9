"""The tables of a configuration file that are no options: who may do what, how much, and who is told.

What they may say is known to ``cluster.edge.admission``. It is imported only if there are such tables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cluster.commands.declared import Given
from cluster.edge.node.policy_in_force import publish_key
from cluster.edge.node.policy_source import PolicyFound, Reread
from cluster.process.options import ConfigError, Option

if TYPE_CHECKING:
    from cluster.edge.admission.policy import Policy
    from cluster.process.config_file import ConfigFile


def found_policy(found: Given) -> PolicyFound:
    """What the tables say. ConfigError has file and line of the first fault, EnvironmentFault the name of a
    file that cannot be read."""
    tables = policy_tables(found.values, found.tables)
    if not tables:
        return PolicyFound()
    from cluster.edge.admission import policy

    # Before the files are read: a fault with a line is told first.
    parsed_with_lines(tables, found.file)
    resolved = policy.resolve_files(tables)
    parsed = parsed_with_lines(resolved, found.file)
    return PolicyFound(resolved, opens=parsed.opens(), restricts=not parsed.is_open)


def policy_tables(values: Mapping[str, Any], tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables, with the one option that is a rule as well."""
    key = values.get("publish_key")
    return dict(tables) if key is None else {**tables, "access": {"publish_key": key}}


def parsed_with_lines(tables: Mapping[str, Any], file: ConfigFile | None) -> Policy:
    """The policy that they say; ConfigError tells the first fault by file and line."""
    from cluster.edge.admission import policy
    from cluster.edge.admission.interfaces import PolicyFaults

    try:
        return policy.parse(tables, publish_key(tables))
    except PolicyFaults as error:
        if file is None:  # a flag or a variable has said it all
            raise ConfigError(str(error)) from None
        file.faults += [file.fault_at(path, text) for path, text in error.faults]
        file.check()
        raise


def rereader(first: Given, again: Callable[[], Given], options: Mapping[str, Option]) -> Reread:
    """Reads what ``again`` gives, and compares its options with those of the start."""

    def reread() -> PolicyFound:
        now = again()
        policy = found_policy(now)
        unlike = tuple(
            f"{option.key} in [{option.group}]"
            for name, option in options.items()
            if name != "publish_key" and first.values.get(name) != now.values.get(name)
        )
        return PolicyFound(policy.tables, policy.opens, unlike, policy.restricts)

    return reread
