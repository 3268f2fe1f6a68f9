"""The tables of a configuration file that are no options: faults, what is shown of them, and ``check``."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path

import pytest

from cluster.commands import policy_note
from cluster.commands.declared import FILE_OPTIONS, FILE_TABLES, Given
from cluster.commands.main import run
from cluster.commands.policy_tables import found_policy
from cluster.edge.admission import policy
from cluster.process import config_file, running
from cluster.process.exit_codes import ExitCode
from cluster.process.running import Note

ROOT = Path(__file__).resolve().parents[2]

GOOD = """\
[[rule]]
match = "live/*"
publish = { users = ["studio"] }
play = { signed = true }
[[rule]]
match = "*"
publish = "deny"
play = "deny"
[users.studio]
password = "marked-secret"
[signing]
secrets = ["marked-secret-of-links"]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "c.toml"
    path.touch(mode=0o600)
    return path


def _says(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str], list[str]]:
    code = run(arguments)
    out, err = capsys.readouterr()
    assert "marked-secret" not in out + err
    return code, out.splitlines(), err.splitlines()


def _warnings(config: Path, text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    config.write_text(text)
    code, out, err = _says(["check", str(config)], capsys)
    assert (code, err) == (ExitCode.OK, [])
    return [line.removeprefix(f"{config}:") for line in out[1:]]


def test_the_tables_are_those_of_the_policy_and_none_has_the_name_of_options() -> None:
    assert FILE_TABLES == policy.TABLES
    assert not set(FILE_TABLES) & {option.group for option in FILE_OPTIONS.values()}


@pytest.mark.parametrize("command", ["check", "edge"])
def test_a_fault_in_a_table_is_told_with_its_line(
    command: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = GOOD.replace('"studio"] }', '"studio",\n"nobody"] }')
    config.write_text(text + "[users.x]\n[node]\nwrokers = 2")
    wanted = ["check", str(config)] if command == "check" else ["edge", "--config", str(config)]
    code, _, err = _says(wanted, capsys)
    assert code == ExitCode.USAGE
    if command == "check":
        assert err[0].startswith(f"{config}:3: users in publish of [[rule]]: there is no [users.nobody]")
        assert err[1].startswith(f"{config}:14: ")
        assert err[2] == f"{config}:16: unknown key 'wrokers' in [node]: did you mean 'workers'?"
    else:
        assert err[0].startswith(f"rtmp-cluster: {config}:16: unknown key")
        config.write_text(config.read_text().replace("wrokers", "workers"))
        _, _, err = _says(wanted, capsys)
        more = f"(and 1 more: rtmp-cluster check {config})"
        assert err[0] == (
            f"rtmp-cluster: {config}:3: users in publish of [[rule]]: there is no [users.nobody] {more}"
        )


def test_a_secret_that_cannot_be_read_ends_the_start(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = config.parent / "none"
    config.write_text(GOOD.replace('password = "marked-secret"', f'password_file = "{missing}"'))
    code, _, err = _says(["edge", "--config", str(config)], capsys)
    assert code == ExitCode.ENVIRONMENT
    assert str(missing) in err[0]
    (warning,) = _warnings(config, config.read_text(), capsys)
    assert warning.startswith(f"10: warning: cannot read {missing}, ")


def test_what_is_in_a_file_is_checked_with_the_line_that_names_the_table(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    short = config.parent / "short"
    short.write_text("marked-secret")
    short.chmod(0o600)
    config.write_text(f'[jwt]\n# a comment\nsecret_file = "{short}"\n')
    code, _, err = _says(["edge", "--config", str(config)], capsys)
    assert code == ExitCode.USAGE
    assert err[0].startswith(f"rtmp-cluster: {config}:1: secret in [jwt]: must have 32 bytes")
    assert _warnings(config, config.read_text(), capsys)[0].startswith("1: warning: ")


def test_print_config_shows_the_tables_with_their_lines_and_without_secrets(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(GOOD)
    code, out, _ = _says(["edge", "--config", str(config), "--print-config"], capsys)
    assert code == ExitCode.OK
    assert f"[[rule]]  # {config}:5" in out
    assert f'password = "***"  # {config}:10' in out
    shown = tomllib.loads("\n".join(out))
    assert shown["rule"] == tomllib.loads(GOOD)["rule"]
    assert shown["signing"] == {"secrets": ["***"]}


def test_the_router_of_the_same_host_takes_no_notice_of_them(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[router]\nbind = 'ipc:///no/such/directory/r'\n[[rule]]\nmatch = 3\n")
    code, _, err = _says(["router", "--config", str(config)], capsys)
    assert code == ExitCode.ENVIRONMENT
    assert "/no/such/directory/r" in err[0]


def test_a_file_without_tables_imports_nothing_for_them(config: Path) -> None:
    config.write_text("[node]\nworkers = 1\n")
    code = (
        "import sys; from cluster.commands.main import run;"
        f"code = run(['edge', '--print-config', '--config', {str(config)!r}]);"
        "sys.exit(code or 'cluster.edge.admission.policy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD, []),
        ("", ["1: warning: open to all: whoever reaches it may publish and play"]),
        ("[router]\nbind = 'tcp://10.0.0.1:1936'\n", []),
        ("[access]\npublish_key = 'marked-secret'\n", ["1: warning: anybody may play"]),
        ("[[limit]]\nmatch = '*'\nplayers = 3\n", ["1: warning: open to all: "]),
        ("\n[[rule]]\nmatch = 'live/*'\npublish = 'deny'\n", ["2: warning: anybody may play "]),
        (
            GOOD + "[[rule]]\nmatch = 'live/cam*'\nplay = 'deny'\n",
            ["15: warning: never decides: rule 1 has already said who may play all that "
             '"live/cam*" matches'],
        ),
        (
            "[[rule]]\nmatch = '*/b'\nplay = 'deny'\npublish = 'deny'\n"
            "[[rule]]\nmatch = 'a*b'\nplay = 'deny'\n"
            "[[rule]]\nmatch = 'a/*/b'\npublish = 'deny'\nplay = 'deny'\n"
            "[[rule]]\nmatch = '*'\nplay = 'deny'\npublish = 'deny'\n",
            ["10: warning: never decides: rule 1 has already said who may publish",
             "11: warning: never decides: rule 1 has already said who may play"],
        ),
        (
            "[access]\npublish_key = 'marked-secret'\n"
            "[[rule]]\nmatch = '*'\npublish = 'deny'\nplay = 'deny'\n",
            ["5: warning: never decides: publish_key in [access] says who may publish"],
        ),
        (
            GOOD + "[[rule]]\nmatch = '~^live/'\nplay = 'deny'\n",
            ['14: warning: in "~^live/", * is any characters, and all else is itself', "15: warning: "],
        ),
        (
            "[[rule]]\nmatch = 'cam[0-9]'\npublish = 'deny'\nplay = 'deny'\n"
            "[[rule]]\nmatch = '*'\npublish = 'deny'\nplay = 'deny'\n",
            ['2: warning: in "cam[0-9]", * is any characters'],
        ),
        (
            GOOD + "[[limit]]\nmatch = 'live/*'\npublishers = 3\n",
            ['14: warning: publishers are those of an app: "live/*" is live/a and such, and not live'],
        ),
        (
            GOOD + "[users.'a b']\npassword = 'marked-secret'\n"
            "[jwt]\nsecret = 'marked-secret-of-32-bytes-length'\n"
            "[hooks]\npublish = 'http://a.example'\nplay = 'http://a.example'\n",
            ['13: warning: no rule names this user: users = ["a b"]',
             "15: warning: no rule asks for it: jwt = true",
             "18: warning: nobody is asked: no rule says publish = { hook = true }",
             "19: warning: nobody is asked: no rule says play = { hook = true }"],
        ),
        (
            GOOD.replace("marked-secret-of-links", "marked-secret-1"),
            ["12: warning: a secret so short is guessed by who has a link: openssl rand -base64 32"],
        ),
    ],
)  # fmt: skip
def test_check_warns_of_what_may_not_be_meant(
    text: str, says: list[str], config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warnings = _warnings(config, text, capsys)
    assert [warning[: len(said)] for warning, said in zip(warnings, says, strict=False)] == says
    assert all(warning.split(": ")[2].startswith("anybody") for warning in warnings[len(says) :])


def test_check_warns_of_secrets_that_every_user_can_read(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = config.parent / "s"
    secret.write_text("marked-secret")
    text = GOOD.replace('password = "marked-secret"', f'password_file = "{secret}"')
    secret.chmod(0o640)
    assert _warnings(config, text, capsys) == []
    secret.chmod(0o644)
    config.chmod(0o644)
    assert _warnings(config, text, capsys) == [
        f"10: warning: every user of this host can read {secret}: chmod o-r it",
        f"12: warning: every user of this host can read {config}, and a secret is in it: chmod o-r it",
    ]


def test_check_tells_what_changes_against_another_file(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, secret = config.parent / "old.toml", config.parent / "s"
    secret.write_text("marked-secret")
    secret.chmod(0o600)
    old.touch(mode=0o600)
    old.write_text(GOOD + "[node]\nworkers = 2\n")
    new = GOOD.replace('"marked-secret"', '"marked-secret-3"').replace('match = "live/*"', 'match = "tv/*"')
    config.write_text(new + "[limits]\nmax_connections = 50\n[access]\npublish_key = 'marked-secret'\n")
    code, out, _ = _says(["check", str(config), "--against", str(old)], capsys)
    assert code == ExitCode.OK
    assert out[-5:] == [
        'rule 1 changed from '
        '{ match = "live/*", publish = { users = ["studio"] }, play = { signed = true } } to '
        '{ match = "tv/*", publish = { users = ["studio"] }, play = { signed = true } }',
        'user "studio" changed',
        "[access] publish_key set",
        "workers in [node] changed from 2 to the CPUs this process may use: this takes a restart",
        "max_connections in [limits] changed from 10000 to 50: this takes a restart",
    ]
    config.write_text(GOOD.replace('password = "marked-secret"', f'password_file = "{secret}"'))
    old.write_text(GOOD)
    _, out, _ = _says(["check", str(config), "--against", str(old)], capsys)
    assert out[-1] == f"{config} says the same as {old}"
    old.write_text("[nodes]")
    code, _, err = _says(["check", str(config), "--against", str(old)], capsys)
    assert code == ExitCode.USAGE
    assert err == [f"{old}:1: unknown table [nodes]: did you mean 'node'?"]


@pytest.fixture
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where nothing else runs."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setattr(running, "places", lambda: [running.place()])
    return running.place()


def _left(config: Path, pid: int) -> tuple[Note, ExitStack]:
    """The note of an edge that runs with this file, and what ends it."""
    found = Given(file=config_file.read(config, FILE_OPTIONS, FILE_TABLES))
    assert found.file is not None
    note, ends = Note("edge", pid, (), None, None), ExitStack()
    ends.enter_context(running.noted(note))
    policy_note.leave(note, policy_note.shown_options(found.file.values), found_policy(found))
    return note, ends


def test_check_tells_what_changes_of_the_edge_that_runs(
    config: Path, own_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(GOOD + "[hooks]\nevents = 'https://x.example/?marked-secret'\n[node]\nworkers = 2\n")
    _, ends = _left(config, 1)
    with ends:
        (left,) = own_place.glob("*.policy")
        assert "marked-secret" not in left.read_text()
        assert left.stat().st_mode & 0o777 == 0o600
        wanted = ["check", str(config), "--against", "running"]
        assert _says(wanted, capsys)[1][-1] == f"{config} says the same as running"
        text = config.read_text().replace("?marked-secret", "?marked-secret-4").replace("= 2", "= 3")
        config.write_text(text.replace('password = "marked-secret"', 'password = "marked-secret-3"'))
        code, out, _ = _says(wanted, capsys)
        assert code == ExitCode.OK
        assert out[-3:] == [
            'user "studio" changed',
            "[hooks] events changed",
            "workers in [node] changed from 2 to 3: this takes a restart",
        ]
    assert not list(own_place.iterdir())


@pytest.mark.parametrize(
    ("pids", "says"),
    [((), "no edge runs here"), ((1, 2), "2 edges run here (1, 2)")],
)
def test_check_wants_one_edge_that_runs(
    pids: tuple[int, ...], says: str, config: Path, own_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(GOOD)
    with ExitStack() as stack:
        for pid in pids:
            stack.enter_context(_left(config, pid)[1])
        code, _, err = _says(["check", str(config), "--against", "running"], capsys)
    assert code == ExitCode.USAGE
    assert err == [f"rtmp-cluster: --against running: {says}: name a file"]


def test_an_edge_without_a_file_has_left_nothing_to_compare_with(
    config: Path, own_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running.noted(Note("edge", 7, (), None, None)):
        code, _, err = _says(["check", str(config), "--against", "running"], capsys)
    assert code == ExitCode.USAGE
    assert err == ["rtmp-cluster: --against running: the edge 7 has no --config"]


def test_nothing_is_left_in_a_place_that_is_not_ours_alone(
    config: Path, own_place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(GOOD)
    own_place.mkdir(mode=0o755)
    own_place.chmod(0o755)
    with _left(config, 1)[1]:
        assert not list(own_place.iterdir())
