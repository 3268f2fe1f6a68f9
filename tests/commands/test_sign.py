"""``rtmp-cluster sign``: what it prints lets in, and what cannot be signed is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.commands.main import run
from cluster.core.keys import StreamKey, split_query
from cluster.core.rtmp.url import RtmpUrl
from cluster.edge.admission.judge import RuleJudge
from cluster.edge.admission.policy import parse
from cluster.edge.peers.access import Access, Action, Allow
from cluster.process.exit_codes import ExitCode

RULES = """
[[rule]]
match = "*"
publish = { signed = true }
play = { signed = true }
[signing]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(f'{RULES}secrets = ["S3cret"]\n')
    return path


def _signed(capsys: pytest.CaptureFixture[str], *arguments: object, says: str = "") -> str:
    assert run(["sign", *map(str, arguments)]) == ExitCode.OK
    out, err = capsys.readouterr()
    assert (says in err) if says else (err == "")
    return out.rstrip("\n")


def _lets_in(key: str, query: str, action: Action = "play", host: str = "192.0.2.7") -> bool:
    policy = parse({
        "rule": [{"match": "*", "publish": {"signed": True}, "play": {"signed": True}}],
        "signing": {"secrets": ["S3cret"]},
    })  # fmt: skip
    judge = RuleJudge(policy, bytes(16))
    return isinstance(judge.judge(Access(action, key, f"{host}:1", "rtmp", "s", query)), Allow)


@pytest.mark.parametrize(
    ("address", "key", "mark"),
    [
        ("rtmp://h/live/cam", "live/cam", "?"),
        ("rtmps://h:1936/live/room/cam", "live/room/cam", "?"),
        ("rtmp://h/live/cam?clientConfigId=a", "live/cam", "&"),
        ("rtmp://h/live?a=b/cam", "live/cam", "?"),
        ("rtmp://h/live", "live", "?"),
        ("rtmp://h/live//cam", "live/cam", "?"),
        ("http://h:8080/live/cam.m3u8", "live/cam", "?"),
        ("https://h/live/cam.flv?a=b", "live/cam", "&"),
        ("https://h/live/cam/media.m3u8", "live/cam", "?"),
        ("http://h/live/c%C3%A4m.mp4", "live/cäm", "?"),
        ("HTTP://h/live/cam", "live/cam", "?"),
    ],
)
def test_an_address_is_printed_with_what_lets_it_in(
    address: str, key: str, mark: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = _signed(capsys, address, "--play", "--expires", "1h", "--config", config)
    assert printed.startswith(f"{address}{mark}exp=")
    query = printed[len(address) + 1 :]
    assert _lets_in(key, query)
    assert not _lets_in(key, query, "publish")
    if address.startswith("rtmp"):
        url = RtmpUrl.parse(printed)
        assert StreamKey.parse(url.app, url.stream) == key
        assert query in split_query(url.stream or url.app)[1]


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("rtmp://h/live/cam?exp=1&ip=1&sig=x", "rtmp://h/live/cam?exp="),
        ("rtmp://h/live/cam?a=b&sig=x&exp=1&c", "rtmp://h/live/cam?a=b&c&exp="),
        ("rtmp://h/live?a=b/cam?sig=x&exp=1", "rtmp://h/live?a=b/cam?exp="),
        ("http://h/live/cam.flv?sig=x&exp=1&a=b?c", "http://h/live/cam.flv?a=b?c&exp="),
        ("http://h/live/cam.flv?", "http://h/live/cam.flv?exp="),
    ],
)
def test_an_address_may_be_signed_anew(
    address: str, kept: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = _signed(capsys, address, "--play", "--expires", "1h", "--config", config)
    assert printed.startswith(kept)
    assert _lets_in("live/cam", printed.partition("cam")[2].partition("?")[2])


def test_to_publish_from_one_address(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = (
        "rtmp://h/live/cam",
        "--publish",
        "--ip",
        "2001:DB8::7",
        "--expires",
        "90",
        "--config",
        config,
    )
    query = split_query(_signed(capsys, *arguments))[1]
    assert _lets_in("live/cam", query, "publish", "[2001:db8::7]")
    assert not _lets_in("live/cam", query, "publish", "192.0.2.7")
    assert not _lets_in("live/cam", query, "play", "[2001:db8::7]")


@pytest.mark.parametrize(
    ("text", "length_s"), [("2", 2), ("2.5s", 2), ("3m", 180), ("3min", 180), ("1d", 86_400)]
)
def test_lengths_of_time(
    text: str,
    length_s: int,
    config: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("time.time", lambda: 1_000.0)
    printed = _signed(capsys, "rtmp://h/a/b", "--play", "--expires", text, "--config", config)
    assert f"exp={1_000 + length_s}&" in printed


def test_a_rule_that_does_not_ask_for_it_is_told(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text('[signing]\nsecrets = ["S3cret"]\n')
    says = f"no rule of {config} asks who wants to play live/cam for a signed address"
    _signed(capsys, "rtmp://h/live/cam", "--play", "--expires", "1h", "--config", config, says=says)


def test_the_secret_may_be_in_a_file_and_others_need_not_be_here(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = config.with_name("secrets")
    secrets.write_text("S3cret\nold\n")
    config.write_text(f'{RULES}secrets_file = "{secrets}"\n[users.a]\npassword_file = "/nowhere"\n')
    printed = _signed(capsys, "rtmp://h/live/cam", "--play", "--expires", "1h", "--config", config)
    assert _lets_in("live/cam", split_query(printed)[1])


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ("rtmp://h/live/cam --expires 1h", 2, "one of --play and --publish is needed"),
        ("rtmp://h/live/cam --play --publish --expires 1h", 2, "one of --play and --publish is needed"),
        ("rtmp://h/live/cam --play", 2, "Missing option '--expires'"),
        ("rtmp://h/live/cam --play --expires tomorrow", 2, "'tomorrow' is no length of time, as 90s, 30m"),
        ("rtmp://h/live/cam --play --expires 0", 2, "'0' is not from a second to ten years"),
        ("rtmp://h/live/cam --play --expires 99999d", 2, "'99999d' is not from a second to ten years"),
        ("rtmp://h/live/cam --play --expires 1h --ip home", 2, "'home' is no numeric address"),
        ("live/cam --play --expires 1h", 2, "ADDRESS: no '://' in it: expected rtmp://host/app/stream"),
        ("rtmp://h/ --play --expires 1h", 2, "ADDRESS: the address names no stream"),
        ("http://h/ --play --expires 1h", 2, "ADDRESS: the address names no stream: expected http://HOST/"),
        ("http://h/../a.flv --play --expires 1h", 2, "ADDRESS: the stream key has . or .. as a segment"),
        ("http:///a.flv --play --expires 1h", 2, "ADDRESS: it has no host"),
        ("http://h/a%ff.flv --play --expires 1h", 2, "ADDRESS: its path is not UTF-8"),
        ("http://[/a.flv --play --expires 1h", 2, "ADDRESS: Invalid IPv6 URL"),
        ("http://h/a.flv#b --play --expires 1h", 2, "ADDRESS: what is behind # is not sent to the server"),
        ("https://h/live/cam.m3u8 --publish --expires 1h", 2, "--publish: nobody publishes over HTTP here"),
    ],
)
def test_what_cannot_be_signed_is_told(
    arguments: str, code: int, says: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sign", *arguments.split(), "--config", str(config)]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("rtmp-cluster: ")
    assert err.count("\n") == 1
    assert says in err
    assert "S3cret" not in err


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("", " has no [signing]: write [signing] and secrets = [...] into it"),
        ("[signing]\n", ":1: [signing] needs secrets, or a file (secrets_file)"),
        ('[signing]\nsecrets = ["S3cret"]\nscheme = "md5"\n', ":3: scheme in [signing]: must be one of "),
        (
            '[signing]\nsecrets_file = "/no/such/file"\n',
            "cannot read /no/such/file, secrets_file in [signing]",
        ),
        ("[[signing]]\n", ":1: signing in the file: must be a table"),
    ],
)
def test_a_file_without_what_signs_is_told(
    file: str, says: str, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(file)
    code = run(["sign", "rtmp://h/live/cam", "--play", "--expires", "1h", "--config", str(config)])
    assert code in (ExitCode.USAGE, ExitCode.ENVIRONMENT)
    err = capsys.readouterr().err
    assert says in err
    assert "S3cret" not in err


def test_links_of_other_schemes(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    signing = 'secrets = ["S3cret"]\nscheme = "secure-link"\n'
    arguments = ["sign", "rtmp://h/live/cam", "--play", "--expires", "1h", "--config", str(config)]
    config.write_text(f"{RULES}{signing}")
    assert run([*arguments, "--ip", "192.0.2.7"]) == ExitCode.USAGE
    assert "--ip: links of secure-link are not bound to an address here" in capsys.readouterr().err
    config.write_text(f'{RULES}{signing}text = "$secure_link_expires$uri$remote_addr $secret"\n')
    assert run(arguments) == ExitCode.USAGE
    assert "--ip is needed: what is signed by" in capsys.readouterr().err
    assert "?st=" in _signed(capsys, *arguments[1:], "--ip", "192.0.2.7")
