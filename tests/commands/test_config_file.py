"""``--config``, ``--print-config`` and ``check``: what a file gives, and what is said of a bad one."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cluster.commands.declared import FILE_OPTIONS
from cluster.commands.main import run
from cluster.edge.node.config import OPTIONS
from cluster.process.exit_codes import ExitCode

ROOT = Path(__file__).resolve().parents[2]
#: More than Python reads as one decimal number.
MANY_DIGITS = "9" * 5_000


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "c.toml"


def _checked(config: Path, text: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What ``check`` says of the text, a line each, without the name of the file."""
    config.write_text(text)
    code = run(["check", str(config)])
    out, err = capsys.readouterr()
    assert code == (ExitCode.USAGE if err else ExitCode.OK)
    assert out.startswith("" if err else f"{config}: no faults\n")
    return [line.removeprefix(f"{config}:") for line in err.splitlines()]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[node]\nwrokers = 2\n", "2: unknown key 'wrokers' in [node]: did you mean 'workers'?"),
        ("[node]\nlog_level = 'info'\n", "2: unknown key 'log_level' in [node]: it belongs in [logging]"),
        ("[node]\nzzz = 1\n", "2: unknown key 'zzz' in [node]: there are workers, node_name, "),
        ("\n# a\nworkers = 2\n", "3: unknown key 'workers': it belongs in [node]"),
        ("[nodes]\n", "1: unknown table [nodes]: did you mean 'node'?"),
        ("[[rules]]\na = 1\n", "1: unknown key 'rules': did you mean 'rule'?"),
        ("node = 3\n", "1: 'node' is a table: write [node] once, and its keys below"),
        ("[node]\nworkers = 'two'\n", "2: workers in [node]: must be a whole number, without quotes"),
        ("[node]\nworkers = true\n", "2: workers in [node]: must be a whole number"),
        ("[node]\nworkers = 0\n", "2: workers in [node]: 0 is not from 1 to 1024"),
        ("[node]\ndrain_timeout = '1s'\n", "2: drain_timeout in [node]: must be a number, without quotes"),
        ("[node]\nnode_name = 3\n", "2: node_name in [node]: must be text in quotes"),
        ("[network]\nbind = ':1'\n", '2: bind in [network]: must be a list, such as bind = ["ADDRESS"]'),
        ("[network]\nbind = [\n  ':1',\n  '2',\n]\n", "2: bind in [network]: '2' has no port"),
        ("[network]\nbind = [':1', ':1']\n", "2: --bind :1 is given twice"),
        ("[router]\ninsecure = 'yes'\n", "2: insecure in [router]: must be true or false"),
        ("[router]\nbind = '1936'\n", "2: bind in [router]: "),
        ("[node\n", "1: is not TOML: "),
        ("[node]\nnode_name = a\n", "2: is not TOML: Invalid value: a text stands in quotes"),
        ("[node]\nworkers = 1\nworkers = 2\n", "3: is not TOML: "),
        ("[node]\nnode_name = '''\na\n", "3: is not TOML: "),
        ("[streams]\nslow_skip = 60\n", "2: --slow-skip must not exceed --log-seconds"),
        ("[tls]\ntls_cert_file = 'a'\n", "2: --bind-tls (or --http-tls) and --tls-key missing"),
        ("node.node_name = '''\n[x]\ny'''\nnode.wrokers = 2\n", "1: node_name in [node]: "),
        ('"node" = { "wrokers" = 2 }\n', "1: unknown key 'wrokers' in [node]"),
    ],
)
def test_a_fault_is_told_with_its_line_and_what_to_do(
    text: str, says: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _checked(config, text, capsys)[0].startswith(says)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            f"a = 1\nb = {MANY_DIGITS}\n\n# end\n", "2: cannot be read: too many digits", id="decimal"
        ),
        pytest.param(
            f"a = [\n 1,\n {MANY_DIGITS}]\n", "3: cannot be read: too many digits", id="in a list"
        ),
        pytest.param(
            f"[node]\nworkers = 0x{MANY_DIGITS}\n", "2: workers in [node]: has too many digits", id="hex"
        ),
        pytest.param(
            f"a = 1\nb = {'[' * 5_000}\n", "2: cannot be read: lists or tables nested too deep", id="nested"
        ),
    ],
)
def test_what_python_does_not_read_is_told_with_its_line(
    text: str, says: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _checked(config, text, capsys) == [says]


def test_check_tells_every_fault_and_no_fault_that_follows_from_another(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "[streams]\nslow_skip = 60\nlog_seconds = 'much'\nlog_bytes = 1048576\n\n"
        "[tls]\nbind_tls = [':1935']\ntls_key_file = 'k'\ntls_cert_file = 'c'\n\n[nod]\nx = 1\n"
    )
    said = _checked(config, text, capsys)
    assert [line.partition(":")[0] for line in said] == ["3", "4", "7", "11"], said


def test_a_number_of_too_many_digits_ends_a_command_with_one_line(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(f"[node]\nworkers = {MANY_DIGITS}\n")
    assert run(["edge", "--config", str(config)]) == ExitCode.USAGE
    err = capsys.readouterr().err
    assert f"{config}:2: cannot be read: too many digits" in err
    assert "Traceback" not in err


def test_a_good_file_has_no_faults(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _checked(config, "", capsys) == []
    assert _checked(config, "[node]\r\nworkers = 2 # all\r\n[router]\ninsecure = true\n", capsys) == []
    assert _checked(config, "\ufeff[node]\nworkers = 2\n", capsys) == []
    assert _checked(config, "\ufeff[node]\nwrokers = 2\n", capsys)[0].startswith("2: unknown key")


def test_a_file_that_is_not_text_or_not_there(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_bytes(b"[node]\n# \xff\n")
    assert run(["check", str(config)]) == ExitCode.USAGE
    assert capsys.readouterr().err == f"{config}:2: is not UTF-8 text: save the file as UTF-8\n"
    config.unlink()
    assert run(["check", str(config)]) == ExitCode.ENVIRONMENT
    assert capsys.readouterr().err == f"rtmp-cluster: cannot read {config}: No such file or directory\n"


@pytest.mark.parametrize("command", ["edge", "router"])
def test_a_command_refuses_a_bad_file_in_one_line(
    command: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("[node]\nworkers = 0\nwrokers = 2\n")
    assert run([command, "--config", str(config)]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        f"rtmp-cluster: {config}:2: workers in [node]: 0 is not from 1 to 1024 "
        f"(and 1 more: rtmp-cluster check {config})\n"
    )


def test_the_line_is_told_of_a_value_that_contradicts_another(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text("\n[streams]\nslow_skip = 20\n")
    assert run(["edge", "--config", str(config), "--log-seconds", "10"]) == ExitCode.USAGE
    assert f"{config}:3: --slow-skip must not exceed --log-seconds" in capsys.readouterr().err
    assert run(["edge", "--config", str(config), "--slow-skip", "40"]) == ExitCode.USAGE
    assert str(config) not in capsys.readouterr().err


def test_a_flag_goes_before_a_variable_before_the_file_before_the_default(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text('[node]\nworkers = 1\ndrain_timeout = 1\nnode_name = "a"\n[network]\nbind = [":1"]\n')
    monkeypatch.setenv("RTMP_CLUSTER_WORKERS", "2")
    monkeypatch.setenv("RTMP_CLUSTER_DRAIN_TIMEOUT", "2")
    arguments = ["edge", "--config", str(config), "--print-config", "--workers", "3", "--bind", ":3"]
    assert run(arguments) == ExitCode.OK
    shown = capsys.readouterr().out.splitlines()
    assert 'bind = [":3"]  # --bind' in shown
    assert "workers = 3  # --workers" in shown
    assert "drain_timeout = 2.0  # RTMP_CLUSTER_DRAIN_TIMEOUT" in shown
    assert f'node_name = "a"  # {config}:4' in shown
    assert 'log_level = "info"  # default' in shown
    assert "# metrics: off  # default" in shown


def test_what_is_shown_is_a_file_that_says_the_same(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--tls-cert", 'a"b\x7f', "--tls-key", "é\\", "--bind-tls", "[::1]:0", "--cluster-key", "k",
             "--metrics", ":9", "--router", "tcp://a:1", "--router", "ipc:///b",
             "--worker-bytes", "1073741824", "--events-queue", "q",
             "--api", ":8", "--api-token", "t", "--api-read-token", "u"]  # fmt: skip
    assert run(["edge", "--print-config", *given]) == ExitCode.OK
    shown = capsys.readouterr().out
    config.write_text(shown)
    assert run(["edge", "--print-config", "--config", str(config)]) == ExitCode.OK
    assert tomllib.loads(capsys.readouterr().out) == tomllib.loads(shown)
    assert {key for table in tomllib.loads(shown).values() for key in table} == {
        option.key for option in OPTIONS.values() if not option.is_secret
    }


@pytest.mark.parametrize("way", ["flag", "variable", "file"])
def test_a_secret_is_not_shown_and_not_repeated(
    way: str, config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for value, code in (("S3cret", ExitCode.OK), ("S3cret\u0007", ExitCode.USAGE)):
        config.write_text(f'[access]\npublish_key = "{value}"\n'.replace("\u0007", "\\u0007"))
        if way == "variable":
            monkeypatch.setenv("RTMP_CLUSTER_PUBLISH_KEY", value)
        given = {"flag": ["--publish-key", value], "variable": [], "file": ["--config", str(config)]}[way]
        assert run(["edge", "--print-config", *given]) == code
        out, err = capsys.readouterr()
        assert "S3cret" not in out + err
        assert code or "# publish_key: given, and not shown  # " in out


def test_the_router_takes_its_options_from_the_file(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = config.parent / "no.key"
    config.write_text(f"[cluster]\ncluster_key_file = '{missing}'\n[node]\nworkers = 2\n")
    assert run(["router", "--config", str(config)]) == ExitCode.ENVIRONMENT
    assert str(missing) in capsys.readouterr().err
    config.write_text("[router]\nbind = 'ipc:///no/such/directory/r'\n")
    assert run(["router", "--config", str(config)]) == ExitCode.ENVIRONMENT
    assert "/no/such/directory/r" in capsys.readouterr().err


def test_who_names_no_file_does_not_load_what_reads_it() -> None:
    code = (
        "import sys; from cluster.commands.main import run; code = run(['edge', '--print-config']);"
        "sys.exit(code or 'tomllib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0


def test_no_key_is_in_a_table_twice_and_no_variable_is_two_options() -> None:
    options = FILE_OPTIONS.values()
    assert len({(option.group, option.key) for option in options}) == len(FILE_OPTIONS)
    assert len({option.env for option in options}) == len(FILE_OPTIONS)


def test_the_documentation_has_the_table_of_options() -> None:
    rows = ["| option | variable | table and key | default |", "|---|---|---|---|"]
    groups = list(dict.fromkeys(option.group for option in FILE_OPTIONS.values()))
    for option in sorted(FILE_OPTIONS.values(), key=lambda option: groups.index(option.group)):
        flag = f"`{option.flag}`" + (" (router)" if option.group == "router" else "")
        key = f"`[{option.group}]` `{option.key}`"
        rows.append(f"| {flag} | `{option.env}` | {key} | {option.default_text} |")
    table = "\n".join(rows)
    doc = (ROOT / "docs" / "options.md").read_text()
    assert f"\n\n{table}\n\n" in doc, f"docs/options.md must have this table:\n{table}"
