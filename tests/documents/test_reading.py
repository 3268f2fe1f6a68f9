"""What is taken for a command, where it is typed, and when what runs is ended."""

from __future__ import annotations

import re

import pytest

from documents import rules
from documents.reading import Command, Ended, documents, hosts_of, read, steps

TEXT = """\
# A document

Start it:

    server --port 1 \\
        --quiet      # in the background
    # a remark

    tool 'a
    b'

```text
tool says …
```

```python
    not_a_command()
```

On 10.0.0.2 and 10.0.0.3:

    cat > file <<'END'
    a line

    END
    tool

On every host:

    all

Ctrl-C ends it.

## Another part

    here
"""


def test_commands_are_read_with_their_lines_and_hosts() -> None:
    first, three, others = ("10.0.0.1",), ("10.0.0.1", "10.0.0.2", "10.0.0.3"), ("10.0.0.2", "10.0.0.3")
    found = list(steps("a.md", TEXT))
    assert found == [
        Command("a.md", 5, first, "server --port 1 \\\n    --quiet      # in the background"),
        Command("a.md", 9, first, "tool 'a\nb'", ("tool says …",)),
        Command("a.md", 22, others, "cat > file <<'END'\na line\n\nEND"),
        Command("a.md", 26, others, "tool"),
        Command("a.md", 30, three, "all"),
        Ended(),
        Command("a.md", 36, first, "here"),
    ]
    assert hosts_of(found) == list(three)


@pytest.mark.parametrize("text", ["    cat <<END\n    a", "    tool 'a", "    tool \\"])
def test_a_command_that_does_not_end_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"line 1: a command that does not end"):
        list(steps("a.md", text))


def test_each_rule_is_needed_by_a_command() -> None:
    typed = [step.text for name in documents() for step in read(name) if isinstance(step, Command)]
    for rule in rules.RULES:
        assert any(re.search(rule.pattern, text) for text in typed), rule.pattern
    assert set(rules.BARE) <= set(documents())
