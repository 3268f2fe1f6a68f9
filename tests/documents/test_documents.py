"""Every command of the documents, typed as written, document by document, on fresh machines.

A line says what happened to each: ``ok``, ``runs on`` (until the document says Ctrl-C, or ends), ``not
here`` or ``WRONG``. Behind it: how long it took, and the rule of ``rules.py`` with its reason, if any.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from documents import rules
from documents.machines import Machine, Running, install, prepare
from documents.reading import FIRST_HOST, Command, Ended, documents, hosts_of, read
from support.topology import NotPermittedError, Topology

pytestmark = pytest.mark.documents

_ENDS_WITHIN_S = 120.0
_READY_WITHIN_S = 60.0
#: What runs on and says nothing special is left alone after this long.
_RUNS_FOR_S = 2.0
_PRINTS_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def root() -> Path:
    commands = [step for name in documents() for step in read(name) if isinstance(step, Command)]
    try:
        return prepare({package for command in commands for package in rules.packages(command.text)})
    except NotPermittedError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def installed(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(root, tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module")
def happened() -> Iterator[Counter[str]]:
    """How many commands came to what, over all documents; shown at the end."""
    counted: Counter[str] = Counter()
    yield counted
    print("\nof all commands:", ", ".join(f"{count} {what}" for what, count in sorted(counted.items())))


class Desk:
    """Somebody who types a document, with a machine for each of its hosts."""

    def __init__(self, machines: dict[str, Machine], happened: Counter[str]) -> None:
        self._machines = machines
        self._happened = happened
        self._running: list[tuple[Command, Running]] = []
        self.wrong: list[str] = []

    def type(self, command: Command) -> None:
        for host in command.hosts:
            self._type(command, self._machines[host])

    def _type(self, command: Command, machine: Machine) -> None:
        text, rule = command.text, rules.of(command)
        self._happened[rule.kind] += 1
        if rule.kind == "not here":
            self._say(command, "not here", rule.reason)
            return
        if rule.kind == "instead":
            text = rule.typed(text)
        started = time.monotonic()
        running = machine.types(text)
        if rules.STAYS.search(text):
            self._running.append((command, running))
            if rules.READY.search(text):
                self._wait_for(running, [r"\bready\b"], _READY_WITHIN_S)
            else:
                running.wait(_RUNS_FOR_S)
            what = "runs on"
        else:
            running.wait(_ENDS_WITHIN_S)
            what = "ok"
        code, wanted = running.code(), rule.code
        shown = [_pattern(line) for line in command.prints]
        if code is None and what == "ok":
            running.interrupt()
            self._fail(command, f"has not ended within {_ENDS_WITHIN_S:g} s", running)
        elif what == "ok" and code != wanted:
            self._fail(command, f"exit code {code}, not {wanted}", running)
        elif what == "runs on" and code not in (None, 0):
            self._fail(command, f"has ended with {code}", running)
        elif missing := self._wait_for(running, shown, _PRINTS_WITHIN_S):
            self._fail(command, f"does not print what is shown, such as: {missing}", running)
        else:
            why = f"{rule.kind}: {rule.reason}" if rule.kind != "as written" else ""
            self._say(command, what, f"{time.monotonic() - started:.1f} s  {why}".rstrip())

    @staticmethod
    def _wait_for(running: Running, patterns: list[str], within_s: float) -> str | None:
        """The first pattern that is not printed in time; None if all are."""
        deadline = time.monotonic() + within_s
        while True:
            missing = [each for each in patterns if not re.search(each, running.output(), re.MULTILINE)]
            ended = running.code() is not None
            if not missing or ended or time.monotonic() > deadline:
                return missing[0] if missing else None
            time.sleep(0.05)

    def ends_all(self) -> None:
        """Ctrl-C for everything that runs, what was started last first."""
        for command, running in reversed(self._running):
            before = running.code()
            code = running.interrupt() if before is None else before
            if code is None:
                self._fail(command, "does not end by Ctrl-C", running)
            elif (before is not None or rules.OURS.search(command.text)) and code != 0:
                self._fail(command, f"has ended with {code}", running)
        self._running.clear()

    def _fail(self, command: Command, why: str, running: Running) -> None:
        self._say(command, "WRONG", why)
        said = running.output().splitlines()[-15:]
        if "systemctl" in command.text:
            said += self._machines[command.hosts[0]].does("journalctl -n 20").stdout.decode().splitlines()
        print("".join(f"      | {line}\n" for line in said))
        self.wrong.append(f"line {command.line}: {command.text.splitlines()[0]}: {why}")

    @staticmethod
    def _say(command: Command, what: str, more: str) -> None:
        first = re.sub(r"\s*#.*", "", command.text.splitlines()[0])
        print(f"  {what:<8} {command.line:>4}  {first:<70}  {more}", flush=True)


def _pattern(line: str) -> str:
    """A shown line as a pattern: "…" is anything, and any number of blanks is as good as one."""
    return r"[ \t]+".join(re.escape(word).replace("…", r"\S.*?") for word in line.split())


@pytest.fixture
def machines(request: pytest.FixtureRequest, root: Path) -> Iterator[dict[str, Machine]]:
    document: str = request.getfixturevalue("document")
    hosts = hosts_of(read(document))
    topology = Topology([f"host{number}" for number in range(1, len(hosts) + 1)], network="10.0.0")
    made: dict[str, Machine] = {}
    try:
        topology.start()
        installed = None if document in rules.BARE else request.getfixturevalue("installed")
        for host in topology.hosts.values():
            made[host.address] = Machine(host, root)
            made[host.address].start(installed)
        for machine in made.values():
            machine.wait_booted()
            machine.does(rules.THE_READERS_OWN)
        yield made
    except NotPermittedError as error:
        pytest.skip(str(error))
    finally:
        for machine in made.values():
            machine.close()
        topology.close()


def _with_commands() -> list[str]:
    return [name for name in documents() if any(isinstance(step, Command) for step in read(name))]


@pytest.mark.parametrize("document", _with_commands())
def test_every_command_runs_as_written(
    document: str, machines: dict[str, Machine], happened: Counter[str]
) -> None:
    print(f"\n{document}")
    desk = Desk(machines, happened)
    try:
        for text in rules.RUNS_ALREADY.get(document, ()):
            desk.type(Command(document, 0, (FIRST_HOST,), text))
        for step in read(document):
            desk.ends_all() if isinstance(step, Ended) else desk.type(step)
    finally:
        desk.ends_all()
    assert desk.wrong == []
