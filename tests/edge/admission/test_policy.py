"""The tables of the configuration: what they say, and what is said of wrong ones."""

from __future__ import annotations

import tomllib
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from cluster.core.errors import EnvironmentFault
from cluster.edge.admission.jwt_tokens import JwtSettings
from cluster.edge.admission.policy import Policy, PolicyFaults, parse, resolve_files
from cluster.edge.admission.rules import Pattern, Rule, Terms

SECRET = "S3cret-S3cret-S3cret-S3cret-S3cret"
#: What most rules need to stand on.
REST = f"""
[users.studio]
password = "{SECRET}"
[users.hashed]
password_hash = "sha256:n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg="
[signing]
secrets = ["{SECRET}", "old"]
[jwt]
secret = "{SECRET}"
[hooks]
publish = "https://app.example/hook"
"""


def _parse(text: str, rest: str = "") -> Policy:
    return parse(tomllib.loads(text + rest))


def _faults(text: str) -> list[tuple[tuple[Any, ...], str]]:
    with pytest.raises(PolicyFaults) as raised:
        _parse(text)
    assert "S3cret" not in str(raised.value)
    return raised.value.faults


def test_a_whole_file() -> None:
    policy = _parse(
        """
        [[rule]]
        match = "/live/*"
        publish = { users = ["studio", "hashed"], ips = ["10.0.0.0/8", "2001:db8::1"], hook = true,
                    fail = "open", cache = 30 }
        play = { signed = true, jwt = true, end_with_link = true }
        [[rule]]
        match = "*"
        publish = "deny"
        play = "allow"
        """.replace(",\n", ","),
        REST,
    )
    publish = Terms(
        users=frozenset(("studio", "hashed")),
        networks=(ip_network("10.0.0.0/8"), ip_network("2001:db8::1")),
        hook=True, fail_open=True, cache_s=30,
    )  # fmt: skip
    play = Terms(signed=True, jwt=True, ends_with_link=True)
    assert policy.rules.rules == (
        Rule(Pattern("live/*"), publish, play), Rule(Pattern("*"), Terms(is_denied=True), Terms()),
    )  # fmt: skip
    assert policy.users.is_right("studio", SECRET)
    assert policy.users.is_right("hashed", "test")
    assert policy.signing is not None
    assert policy.signing.secrets == (SECRET, "old")
    assert policy.jwt == JwtSettings(secret=SECRET, algorithms=("HS256",))
    assert policy.hooks.publish == "https://app.example/hook"
    assert policy.opens() == []
    assert not policy.is_open
    assert "S3cret" not in repr(policy)


def test_limits_are_read_where_they_are_counted() -> None:
    [limit] = _parse('[[limit]]\nmatch = "/live/*"\nplayers = 5\n').limits
    assert (limit.match, limit.players) == ("live/*", 5)


def test_nothing_said_is_all_open() -> None:
    policy = parse({"network": {"bind": [":1"]}})
    assert policy.is_open
    assert len(policy.opens()) == 2


def test_the_publish_key_goes_before_all_rules() -> None:
    tables = tomllib.loads('[[rule]]\nmatch = "*"\npublish = "allow"\n')
    policy = parse(tables, SECRET)
    assert policy.rules.terms("publish", "live/cam") == Terms(keys=(SECRET,))
    assert policy.rules.terms("play", "live/cam") is None
    assert len(policy.opens()) == 1
    assert "S3cret" not in repr(policy)


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("rule = 3", ("rule",), "rules are a list of tables: write [[rule]] above each"),
        ("[rule]\nmatch = '*'", ("rule",), "rules are a list of tables"),
        ("[[rule]]\nplay = 'allow'", ("rule", 0), '[[rule]] needs match, such as match = "live/*"'),
        ("[[rule]]\nmatch = ''\nplay = 'allow'", ("rule", 0, "match"), "match in [[rule]]: is empty"),
        ("[[rule]]\nmatch = '//'\nplay = 'deny'", ("rule", 0, "match"), "nothing but slashes in it"),
        ("[[rule]]\nmatch = 'live/cam?'\nplay = 'deny'", ("rule", 0, "match"), "no stream key has a ?"),
        ("[[rule]]\nmatch = '/live//*'\nplay = 'deny'", ("rule", 0, "match"), "two slashes side by side"),
        ("[[rule]]\nmatch = 'rtmp://h/live/*'\nplay = 'deny'", ("rule", 0, "match"), "nor a host"),
        ("[[rule]]\nmatch = \"live/*\\n\"\nplay = 'deny'", ("rule", 0, "match"), "control characters"),
        ("[[rule]]\nmatch = 1\nplay = 'allow'", ("rule", 0, "match"), "must be text in quotes"),
        ("[[rule]]\nmatch = '*'", ("rule", 0), "speaks of neither publish nor play"),
        ("[[rule]]\nmatch='*'\nplay='allow'\npubish='deny'", ("rule", 0, "pubish"),
         "did you mean 'publish'?"),
        ("[[rule]]\nmatch = '*'\nplay = 'yes'", ("rule", 0, "play"), 'must be "allow", "deny" or a table'),
        ("[[rule]]\nmatch = '*'\nplay = true", ("rule", 0, "play"), 'must be "allow", "deny" or a table'),
        ("[[rule]]\nmatch = '*'\nplay = {}", ("rule", 0, "play"), 'asks for nothing: write play = "allow"'),
        ("[[rule]]\nmatch='*'\nplay={signed=false}", ("rule", 0, "play"), "asks for nothing"),
        ("[[rule]]\nmatch='*'\nplay={signd=true}", ("rule", 0, "play", "signd"),
         "unknown key 'signd' in play of [[rule]]: did you mean 'signed'?"),
        ("[[rule]]\nmatch='*'\nplay={signed=1}", ("rule", 0, "play", "signed"), "must be true or false"),
        ("[[rule]]\nmatch='*'\nplay={signed=true}", ("rule", 0, "play", "signed"), "there is no [signing]"),
        ("[[rule]]\nmatch='*'\nplay={jwt=true}", ("rule", 0, "play", "jwt"), "there is no [jwt]"),
        ("[[rule]]\nmatch='*'\nplay={hook=true}", ("rule", 0, "play", "hook"), "no play in [hooks] to ask"),
        ("[[rule]]\nmatch='*'\nplay={users=['ada']}", ("rule", 0, "play", "users"),
         "there is no [users.ada]"),
        ("[[rule]]\nmatch='*'\nplay={users=[]}", ("rule", 0, "play", "users"), "with one at least"),
        ("[[rule]]\nmatch='*'\nplay={users='ada'}", ("rule", 0, "play", "users"),
         "must be a list of texts"),
        ("[[rule]]\nmatch='*'\nplay={ips=['10.0.0.1/8']}", ("rule", 0, "play", "ips"),
         "'10.0.0.1/8' is no range of addresses: did you mean 10.0.0.0/8?"),
        ("[[rule]]\nmatch='*'\nplay={ips=['home']}", ("rule", 0, "play", "ips"), "as 10.0.0.0/8 and"),
        ("[[rule]]\nmatch='*'\nplay={ips=['::1'],dialogue=true}", ("rule", 0, "play", "dialogue"),
         "it is about users, and the rule names none"),
        ("[[rule]]\nmatch='*'\nplay={ips=['::1'],fail='open'}", ("rule", 0, "play", "fail"),
         "it goes with hook = true alone"),
        ("[[rule]]\nmatch='*'\nplay={ips=['::1'],cache=1}", ("rule", 0, "play", "cache"), "goes with hook"),
        ("[[rule]]\nmatch='*'\nplay={hook=true,cache=-1}", ("rule", 0, "play", "cache"),
         "must be from 0 to 86400"),
        ("[[rule]]\nmatch='*'\nplay={hook=true,cache='1'}", ("rule", 0, "play", "cache"),
         "must be a number"),
        ("[[rule]]\nmatch='*'\nplay={hook=true,fail='shut'}", ("rule", 0, "play", "fail"),
         "must be one of closed, open, in quotes"),
        ("[[rule]]\nmatch='*'\nplay={ips=['::1'],end_with_link=true}", ("rule", 0, "play", "end_with_link"),
         "it goes with signed or jwt alone"),
        ("users = 1", ("users",), "must be a table"),
        ("[users]\nstudio = 'S3cret'", ("users", "studio"),
         'must be a table: write [users.studio], and below it password = "…"'),
        ("[users.a]", ("users", "a"), "[users.a] needs one of password, password_hash, passwords"),
        ("[users.a]\npassword='S3cret'\npassword_file='f'", ("users", "a", "password_file"),
         "only one is possible, and password is there too"),
        ("[users.a]\npassword=3", ("users", "a", "password"), "must be text in quotes"),
        ("[users.a]\npassword='S3cret'\nrole='x'", ("users", "a", "role"), "unknown key 'role'"),
        ("[users.a]\npasswords='S3cret'", ("users", "a", "passwords"), "must be a list of texts"),
        ("[users.a]\npassword_hash='S3cret'", ("users", "a", "password_hash"), "must begin with sha256:"),
        ("[signing]", ("signing",), "[signing] needs secrets, or a file (secrets_file)"),
        ("[signing]\nsecrets=[]", ("signing", "secrets"), "with one at least"),
        ("[signing]\nsecrets='S3cret'", ("signing", "secrets"), "must be a list of texts"),
        ("[signing]\nsecrets=['S3cret']\nscheme='md5'", ("signing", "scheme"),
         "must be one of rtmp-cluster, "),
        ("[signing]\nsecrets=['S3cret']\ntext='x'", ("signing", "text"),
         'goes with scheme = "secure-link" alone'),
        ("[signing]\nsecrets=['S3cret']\nscheme='secure-link'\ntext='$uri$secret'", ("signing", "text"),
         "must have $secure_link_expires, $uri and $secret in it"),
        ("[jwt]", ("jwt",), "[jwt] needs one of secret, public_key, jwks, or a file (secret_file)"),
        ("[jwt]\nsecret='S3cret'", ("jwt", "secret"), "must have 32 bytes or more"),
        ("[jwt]\npublic_key='S3cret'", ("jwt", "public_key"), "holds no public key in PEM"),
        ("[jwt]\njwks='S3cret'", ("jwt", "jwks"), "must be an address such as https://"),
        ("[jwt]\njwks_file='f'", ("jwt", "jwks_file"), "keys are read from an address"),
        (f"[jwt]\nsecret='{SECRET}'\nalgorithms=['RS256']", ("jwt", "algorithms"),
         "'RS256' is not for such a key: HS256 is"),
        ("[jwt]\njwks='https://a/'\nalgorithms=['HS256']", ("jwt", "algorithms"),
         "'HS256' is not for such a key"),
        ("[jwt]\njwks='https://a/'\nclaim='x'", ("jwt", "claim"),
         "must be one of rtmp_cluster_permissions, "),
        ("[hooks]\npublish='S3cret'", ("hooks", "publish"), "must be an address"),
        ("hooks = 1", ("hooks",), "[hooks] must be a table"),
        ("[[limit]]\nmatch = 'live/cam?'\nplayers = 5", ("limit", 0, "match"), "no stream key has a ?"),
        ("[[limit]]\nmatch = '*'\nplayer = 5", ("limit", 0, "player"), "did you mean 'players'?"),
        ("[[limit]]\nmatch = '*'\nviewers = 5", ("limit", 0, "viewers"), "a limit has match, players, "),
        ("[[limit]]\nmatch = '*'\nplayers = 0", ("limit", 0, "players"),
         "players is a whole number from 1"),
    ],
)  # fmt: skip
def test_a_fault_has_its_place_and_says_what_to_do(text: str, path: tuple[Any, ...], says: str) -> None:
    [said] = [said for found, said in _faults(text) if found == path]
    assert says in said


def test_all_faults_are_told_in_one_go() -> None:
    faults = _faults("[[rule]]\n[users.a]\n[signing]\n[jwt]\n[hooks]\nx = 1\n")
    assert [path[0] for path, _ in faults] == ["users", "signing", "jwt", "hooks", "rule", "rule"]


@pytest.mark.parametrize(
    "text",
    [
        "[[rule]]\nmatch='*'\npublish={user=['ada']}",
        "[[rule]]\nmatch='*'\npublish={signed='true'}",
        "[[rule]]\nmatch='*'\npublish={ips=['10.0.0.1/8']}",
        "[users.ada]\npasword='S3cret'",
        "[users]\nada='S3cret'\n[[rule]]\nmatch='*'\npublish={users=['ada']}",
        "[signing]\nsecret=['S3cret']",
        "[jwt]\nkey='S3cret'",
        "[[limit]]\nmatch='*'\nplayer=3",
    ],
)
def test_one_mistake_is_one_fault_which_opens_nothing(text: str) -> None:
    """If users is misspelt, the rule asks for nothing; but to allow everybody is not the way out."""
    [(_, said)] = _faults(text)
    assert "allow" not in said


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.1.2.3", "10.1.2.3"),
        ("::ffff:0.0.0.0/96", "0.0.0.0/0"), ("::fffe:0:0/95", "::fffe:0:0/95"), ("::/0", "::/0"),
    ],
)  # fmt: skip
def test_a_range_of_ipv4_within_ipv6_is_one_of_ipv4(text: str, means: str) -> None:
    policy = _parse(f"[[rule]]\nmatch='*'\npublish={{ips=['{text}']}}")
    terms = policy.rules.terms("publish", "live/a")
    assert terms is not None
    assert terms.networks == (ip_network(means),)


def test_a_dialogue_needs_the_password_itself() -> None:
    rule = '[[rule]]\nmatch = "*"\npublish = { users = ["hashed"], dialogue = true }\n'
    [(path, said)] = _faults(rule + REST)
    assert path == ("rule", 0, "publish", "dialogue")
    assert said.endswith("[users.hashed] has a hash, and the dialogue needs the password")


# ---- files -----------------------------------------------------------------------------------

_FILES = """
[users.studio]
password_file = "{0}/password"
[signing]
secrets_file = "{0}/secrets"
[jwt]
secret_file = "{0}/jwt"
[hooks]
publish = "https://app.example/"
secret_file = "{0}/hook"
"""


def test_what_is_in_files_stands_for_them(tmp_path: Path) -> None:
    (tmp_path / "password").write_text(" pass word \r\n")
    (tmp_path / "secrets").write_text("new\nold\n\n")
    (tmp_path / "jwt").write_text(SECRET)
    (tmp_path / "hook").write_text("whsec_" + "A" * 32)
    tables = tomllib.loads(_FILES.format(tmp_path))
    kept = tomllib.loads(_FILES.format(tmp_path))
    policy = parse(resolve_files(tables))
    assert tables == kept
    assert policy.users.is_right("studio", " pass word ")
    assert policy.signing is not None
    assert policy.signing.secrets == ("new", "old")
    assert policy.jwt is not None
    assert policy.jwt.secret == SECRET
    assert len(policy.hooks.secrets) == 1


def test_a_file_is_checked_without_those_that_it_names() -> None:
    terms = 'users = ["studio"], signed = true, jwt = true, dialogue = true'
    rule = f'[[rule]]\nmatch = "*"\npublish = {{ {terms} }}\n'
    policy = _parse(rule, _FILES.format("/nowhere"))
    assert not policy.users.is_right("studio", "")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "cannot read {0}, password_file in [users.a]: No such file or directory"),
        (b"", "cannot use {0}, password_file in [users.a]: it is empty"),
        (b"\n \n", "cannot use {0}, password_file in [users.a]: it is empty"),
        (b"S3cret\xff", "cannot use {0}, password_file in [users.a]: it is not UTF-8 text"),
        (b"S3cret" * 20_000, "cannot use {0}, password_file in [users.a]: it is longer than 65536 bytes"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_not_shown(
    content: bytes | None, why: str, tmp_path: Path
) -> None:
    file = tmp_path / "f"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EnvironmentFault) as raised:
        resolve_files({"users": {"a": {"password_file": str(file)}}})
    assert str(raised.value) == why.format(file)


def test_tables_that_are_wrong_are_left_to_be_told() -> None:
    wrong = {"users": 1, "signing": [], "jwt": {"secret_file": 3}, "hooks": {"secret_file": ""}}
    assert resolve_files(wrong) == wrong
    for user in (1, {"password": "x", "password_file": "/nowhere"}):
        assert resolve_files({"users": {"a": user}}) == {"users": {"a": user}}
    with pytest.raises(EnvironmentFault, match="its name is none"):
        resolve_files({"users": {"a": {"password_file": "a\0b"}}})
