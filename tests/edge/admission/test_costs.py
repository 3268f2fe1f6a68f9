"""What rules cost those who have none of a kind: packages are imported where a rule needs them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
#: Packages that take time and memory to import.
HEAVY = ("jwt", "cryptography", "aiohttp", "argon2")
MAKE = """
import sys, tomllib
from cluster.edge.admission.judge import RuleJudge
from cluster.edge.admission.policy import parse
RuleJudge(parse(tomllib.loads(sys.argv[1])), bytes(16))
print(*(name for name in sys.argv[2:] if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("text", "imported"),
    [
        ("", []),
        (
            '[[rule]]\nmatch = "*"\npublish = { users = ["a"], dialogue = true }\n'
            'play = { signed = true }\n'
            '[users.a]\npassword = "b"\n[signing]\nsecrets = ["c"]\n',
            [],
        ),
        ('[[rule]]\nmatch = "*"\nplay = { jwt = true }\n[jwt]\nsecret = "' + "s" * 32 + '"\n', ["jwt"]),
    ],
    ids=["nothing", "users and links", "tokens"],
)
def test_what_no_rule_needs_is_not_imported(text: str, imported: list[str]) -> None:
    made = subprocess.run(
        [sys.executable, "-c", MAKE, text, *HEAVY], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert [name for name in made.stdout.split() if name != "cryptography"] == imported
    assert imported or not made.stdout.split()


def test_who_starts_an_edge_imports_nothing_of_rules() -> None:
    code = (
        "import sys; from cluster.commands.main import run; run(['edge', '--print-config']);"
        "sys.exit('cluster.edge.admission.policy' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    assert ran.returncode == 0
