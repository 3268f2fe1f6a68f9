"""The sizes and the imports of ``cluster/`` keep to the house rules.

A place that breaks a rule fails the test by name, unless ``KNOWN`` has it. An entry of ``KNOWN`` that
breaks nothing any more fails too, so the list can only get shorter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "cluster"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_CONSTRUCTOR_ARGUMENTS = 8

#: What breaks a rule today: rule, then place.
KNOWN: dict[str, set[str]] = {
    "long file": set(),
    "long function": set(),
    "wide constructor": set(),
    "import circle": set(),
}

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef
#: Source text of each module, by its full name; a package's ``__init__`` has the package's name.
Sources: TypeAlias = dict[str, str]


def read_sources() -> Sources:
    sources = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text()
    return sources


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function | ast.ClassDef]]:
    """(dotted name, node) of each function and class below ``node``, however deep."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            yield prefix + child.name, child
            yield from definitions(child, f"{prefix}{child.name}.")
        else:
            yield from definitions(child, prefix)


def long_files(sources: Sources) -> dict[str, str]:
    sizes = {name: len(text.splitlines()) for name, text in sources.items()}
    return {name: f"{lines} lines" for name, lines in sizes.items() if lines > MAX_FILE_LINES}


def long_functions(sources: Sources) -> dict[str, str]:
    found = {}
    for module, text in sources.items():
        for name, node in definitions(ast.parse(text)):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if isinstance(node, Function) and lines > MAX_FUNCTION_LINES:
                found[f"{module}:{name}"] = f"{lines} lines"
    return found


def wide_constructors(sources: Sources) -> dict[str, str]:
    found = {}
    for module, text in sources.items():
        for name, node in definitions(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                arguments = constructor_arguments(node)
                if arguments > MAX_CONSTRUCTOR_ARGUMENTS:
                    found[f"{module}:{name}"] = f"{arguments} arguments"
    return found


def constructor_arguments(node: ast.ClassDef) -> int:
    """How many arguments its own constructor takes, besides ``self``.

    A dataclass counts what a caller must give. Its fields with a default are a table of options, limits or
    counters, and such a table may be long.
    """
    for statement in node.body:
        if isinstance(statement, Function) and statement.name == "__init__":
            given = statement.args
            starred = [each for each in (given.vararg, given.kwarg) if each is not None]
            return len(given.posonlyargs + given.args + given.kwonlyargs + starred) - 1
    if any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return sum(
            isinstance(each, ast.AnnAssign) and each.value is None and not is_class_variable(each)
            for each in node.body
        )
    return 0


def is_class_variable(field: ast.AnnAssign) -> bool:
    return "ClassVar" in ast.unparse(field.annotation)


def import_circles(sources: Sources) -> dict[str, str]:
    """Modules that import each other, in a circle of any length; the place is their names together."""
    imported = {name: imports_of(name, text, sources) for name, text in sources.items()}
    reached = {name: reachable(name, imported) for name in imported}
    circles = {}
    for name in imported:
        if name in reached[name]:
            circle = sorted(other for other in reached[name] if name in reached[other])
            circles[" ".join(circle)] = "import each other"
    return circles


def reachable(start: str, imported: dict[str, set[str]]) -> set[str]:
    """All that ``start`` imports, directly or through others; itself only if a way leads back."""
    found: set[str] = set()
    waiting = [start]
    while waiting:
        new = imported[waiting.pop()] - found
        found |= new
        waiting += new
    return found


def imports_of(module: str, text: str, sources: Sources) -> set[str]:
    """The modules among ``sources`` that run because ``module`` is imported.

    With a module run the ``__init__`` of the packages above it. Those that stand above ``module`` as well
    run already, so they count only where a name is taken from them.
    """
    found = set()
    for target in imported_names(ast.parse(text).body):
        steps = target.split(".")
        above = {".".join(steps[:count]) for count in range(1, len(steps))}
        taken_from = ".".join(steps[:-1])
        for name in above | {target}:
            is_own_package = f"{module}.".startswith(f"{name}.")
            is_needed = not is_own_package or (name == taken_from and target not in sources)
            if name in sources and name != module and is_needed:
                found.add(name)
    return found


def imported_names(statements: Iterable[ast.AST]) -> Iterator[str]:
    """Full names of what runs as an import when the module does: not in functions, not for types alone."""
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, "an import relative to its package"
            yield from (f"{statement.module}.{alias.name}" for alias in statement.names)
        elif isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test):
            yield from imported_names(statement.orelse)
        elif not isinstance(statement, Function):
            yield from imported_names(ast.iter_child_nodes(statement))


RULES: dict[str, Callable[[Sources], dict[str, str]]] = {
    "long file": long_files,
    "long function": long_functions,
    "wide constructor": wide_constructors,
    "import circle": import_circles,
}


@pytest.fixture(scope="module")
def sources() -> Sources:
    return read_sources()


def test_each_rule_has_its_list() -> None:
    assert KNOWN.keys() == RULES.keys()


@pytest.mark.parametrize("rule", RULES)
def test_nothing_else_breaks_a_rule(rule: str, sources: Sources) -> None:
    broken = RULES[rule](sources)
    assert {place: why for place, why in broken.items() if place not in KNOWN[rule]} == {}


@pytest.mark.parametrize("rule", RULES)
def test_what_is_known_still_breaks_its_rule(rule: str, sources: Sources) -> None:
    assert KNOWN[rule] - RULES[rule](sources).keys() == set(), "kept to again: take it off the list"


def body(lines: int) -> str:
    return "    x = 1\n" * lines


@pytest.mark.parametrize(("lines", "found"), [(400, {}), (401, {"cluster.a": "401 lines"})])
def test_a_file_is_long_from_one_line_past_the_limit(lines: int, found: dict[str, str]) -> None:
    assert long_files({"cluster.a": "x = 1\n" * lines}) == found


@pytest.mark.parametrize(("lines", "found"), [(60, {}), (61, {"cluster.a:C.f": "61 lines"})])
@pytest.mark.parametrize("start", ["def", "async def"])
def test_a_function_is_long_from_one_line_past_the_limit(
    lines: int, found: dict[str, str], start: str
) -> None:
    text = f"class C:\n  @staticmethod\n  {start} f():\n" + body(lines - 1)
    assert long_functions({"cluster.a": text}) == found


@pytest.mark.parametrize(("count", "found"), [(8, {}), (9, {"cluster.a:C": "9 arguments"})])
@pytest.mark.parametrize("kind", ["positional", "keyword", "starred", "dataclass"])
def test_a_constructor_is_wide_from_one_argument_past_the_limit(
    count: int, found: dict[str, str], kind: str
) -> None:
    names = [f"a{number}" for number in range(count)]
    arguments = {
        "positional": ", ".join(names),
        "keyword": "*, " + ", ".join(names),
        "starred": ", ".join([*names[2:], "*args", "**kwargs"]),
    }
    if kind == "dataclass":
        fields = "".join(f"    {name}: int\n" for name in names)
        text = f"@dataclass\nclass C:\n    K: ClassVar[int]\n{fields}    last: int = 0\n"
    else:
        text = f"class C:\n    def __init__(self, {arguments[kind]}): pass\n"
    assert wide_constructors({"cluster.a": text}) == found


@pytest.mark.parametrize(
    ("texts", "circles"),
    [
        ({"a": "import cluster.b", "b": "from cluster.c import x", "c": ""}, []),
        ({"a": "import cluster.b", "b": "from cluster.a import x"}, ["cluster.a cluster.b"]),
        (
            {"a": "from cluster import b", "b": "try:\n  import cluster.a\nexcept E: pass"},
            ["cluster.a cluster.b"],
        ),
        (
            {"a": "from cluster import b", "b": "from cluster.c import x", "c": "import cluster.a"},
            ["cluster.a cluster.b cluster.c"],
        ),
        ({"a": "import cluster.b", "b": "if TYPE_CHECKING:\n  import cluster.a"}, []),
        ({"a": "import cluster.b", "b": "def f():\n  import cluster.a"}, []),
        # A package may gather its modules, and these may import each other through it.
        ({"p": "from cluster.p.a import x", "p.a": "from cluster.p import b", "p.b": ""}, []),
        # A name of the package itself is another matter.
        ({"p": "from cluster.p.a import x", "p.a": "from cluster.p import y"}, ["cluster.p cluster.p.a"]),
        # Who imports a package's module runs the package.
        (
            {"p": "import cluster.q.a", "p.a": "", "q": "", "q.a": "import cluster.p.a"},
            ["cluster.p cluster.q.a"],
        ),
    ],
)
def test_what_is_a_circle(texts: dict[str, str], circles: list[str]) -> None:
    sources = {"cluster": "", **{f"cluster.{name}": text for name, text in texts.items()}}
    assert list(import_circles(sources)) == circles


def test_what_setup_compiles_is_there_and_can_be_compiled() -> None:
    named = set(re.findall(r'"(cluster/\S+\.py)"', (ROOT / "setup.py").read_text()))
    assert named
    assert {each for each in named if not (ROOT / each).exists()} == set()
    assert "cluster/edge/streams/fan_out.py" not in named, "compiled it may never end: setup.py says why"
