"""The documents of limits name every budget, rate and limit, with the value of the code."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import re
from itertools import chain
from pathlib import Path

import pytest

from cluster.core.limits import KIB, MIB
from cluster.edge.node.config import OPTIONS
from cluster.edge.streams.counters import DECLARATIONS

ROOT = Path(__file__).parents[1]
_NAMES = ("limits.md", "http.md", "access-limits.md", "events.md", "api.md")
DOCS = [ROOT / "docs" / name for name in _NAMES]

#: Where a constant with such a name is a limit on what a peer, or another process, may cost.
PLACES = (
    "api", "bus", "core/bus", "core/limits.py", "core/media", "core/rtmp", "edge", "net", "process",
    "router",
)  # fmt: skip
LIMIT_NAME = re.compile(r"MAX_\w+|\w+_(PER_S|AT_ONCE|PER_TURN|WITHIN_S|PER_APP|PER_ADDRESS)")
#: Named like limits, and none: what a format allows, and sizes that follow from it.
NO_LIMITS = {
    "core.bus.packing.MAX_INTEGER", "core.bus.endpoints.MAX_IPC_PATH_BYTES",
    "core.media.ex_header.MAX_TRACKS", "core.media.flv.MAX_BODY_BYTES",
    "core.media.timeline.MAX_DATA_OFFSET_MS", "core.media.timeline.MAX_STEP_BACK_MS",
    "core.media.file_clock.MAX_HELD_MESSAGES", "core.media.file_clock.MAX_HELD_MS",
    "core.rtmp.chunk_reader.MAX_CHUNK_SIZE", "core.rtmp.chunk_writer.MAX_PAYLOAD_BYTES",
    "core.rtmp.control.MAX_CHUNK_SIZE", "core.rtmp.control.MAX_U32",
    "core.rtmp.command.MAX_SALVAGED_VALUES",
    "net.outbox.MAX_BUFFERS_PER_SEND", "net.tls_socket.MAX_RECORD_BYTES",
}  # fmt: skip


def rows() -> dict[str, tuple[str, str]]:
    """By name: the value the document gives, and how it says that the limit is counted."""
    found = {}
    for line in chain.from_iterable(doc.read_text().splitlines() for doc in DOCS):
        match = re.fullmatch(r"\| `(--[\w-]+|\w+(?:\.\w+)+)` \| (.+?) \| .+ \| (.+?) \|", line)
        if match:
            found[match[1]] = match[2], match[3]
    return found


def constants() -> set[str]:
    """The limits that the code declares, by module and name; fields of ``Limits`` and ``LogLimits`` too."""
    found = set()
    for place in PLACES:
        path = ROOT / "cluster" / place
        for source in [path] if path.suffix else sorted(path.rglob("*.py")):
            module = ".".join(source.relative_to(ROOT / "cluster").with_suffix("").parts)
            for node in ast.parse(source.read_text()).body:
                target = node.target if isinstance(node, ast.AnnAssign) else None
                if isinstance(node, ast.Assign):
                    target = node.targets[0]
                if isinstance(target, ast.Name) and LIMIT_NAME.fullmatch(target.id):
                    found.add(f"{module}.{target.id}")
                if isinstance(node, ast.ClassDef) and node.name in ("Limits", "LogLimits"):
                    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
                    found |= {f"{module}.{node.name}.{ast.unparse(each.target)}" for each in fields}
    return found


def value_of(name: str) -> object:
    module, _, last = name.rpartition(".")
    try:
        return getattr(importlib.import_module(f"cluster.{module}"), last)
    except ModuleNotFoundError:
        module, _, owner = module.rpartition(".")
        declared = getattr(importlib.import_module(f"cluster.{module}"), owner)
        return {each.name: each.default for each in dataclasses.fields(declared)}[last]


def spelled(name: str, value: object) -> str:
    if value is None:
        return "none"
    assert isinstance(value, int | float)
    unit = name.lower().removesuffix("_per_s").rpartition("_")[2]
    if unit == "bytes":
        for size, word in ((MIB, "MiB"), (KIB, "KiB")):
            if value >= size and value % size == 0:
                return f"{value // size} {word}"
        return f"{value:,} bytes"
    unit = unit if unit in ("s", "ms") and not name.endswith("PER_S") else ""
    return f"{value:,g} {unit}".strip() if value < 1_000_000 else f"{value:,} {unit}".strip()


def test_every_limit_of_the_code_is_in_the_table() -> None:
    assert sorted(constants() - NO_LIMITS - rows().keys()) == []


def test_what_is_no_limit_is_still_there() -> None:
    assert sorted(NO_LIMITS - constants()) == []


@pytest.mark.parametrize("name", sorted(rows()))
def test_the_table_has_the_value_of_the_code(name: str) -> None:
    given = rows()[name][0]
    if name.startswith("--"):
        [declared] = [each for each in OPTIONS.values() if each.flag == name]
        expected = {declared.default_text}
        if declared.default_text.isdigit():
            expected.add(spelled(name.replace("-", "_"), int(declared.default_text)))
        assert given in expected
    else:
        assert given == spelled(name, value_of(name))


@pytest.mark.parametrize("name", sorted(rows()))
def test_what_counts_a_limit_is_a_counter_or_a_reason(name: str) -> None:
    from cluster.core.errors import CloseReason

    for counted in re.findall(r"`([^`]+)`", rows()[name][1]):
        assert counted in DECLARATIONS or counted in set(CloseReason), counted
