"""Signed addresses: what each scheme signs, byte for byte, and what does not let in."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.edge.admission.credentials import Credentials
from cluster.edge.admission.signed import SCHEMES, BadLink, Scheme, Signing, normal
from cluster.edge.peers.access import Access, Action, Refused

NOW = 1_800_000_000
LATER = NOW + 60
HOST = "192.0.2.7"


def _check(
    signing: Signing, query: str, action: Action = "play", key: str = "live/cam", host: str = HOST,
    app_query: str = "", now_s: float = NOW,
) -> float:  # fmt: skip
    access = Access(action, key, f"{host}:1", "rtmp", "s", query, app_query)
    return signing.check(Credentials(access), action, key, host, now_s)


def _refused(signing: Signing, query: str, **asked: object) -> tuple[Refused, str]:
    with pytest.raises(BadLink) as raised:
        _check(signing, query, **asked)  # type: ignore[arg-type]
    return raised.value.why, str(raised.value)


WRONG = (Refused.BAD_CREDENTIALS, "the signature of the address is not right")
EXPIRED = (Refused.BAD_CREDENTIALS, "the signed address has expired")
NONE = (Refused.NO_CREDENTIALS, "this needs a signed address")


def test_ours_as_the_document_has_it() -> None:
    signing = Signing(("secret",))
    text = f"play\nlive/cam\n{LATER}"
    signature = base64.urlsafe_b64encode(hmac.digest(b"secret", text.encode(), hashlib.sha256)).decode()
    assert signing.query("play", "live/cam", LATER) == f"exp={LATER}&sig={signature.rstrip('=')}"
    assert _check(signing, f"sig={signature}&a=b&exp={LATER}") == LATER
    assert _check(signing, "", app_query=f"sig={signature}&exp={LATER}") == LATER


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7", "::ffff:192.0.2.7"])
def test_ours_bound_to_an_address(host: str) -> None:
    signing = Signing(("secret",))
    query = signing.query("play", "live/cam", LATER, normal(host))
    text = f"play\nlive/cam\n{LATER}\n{host.removeprefix('::ffff:')}"
    signature = base64.urlsafe_b64encode(hmac.digest(b"secret", text.encode(), hashlib.sha256)).decode()
    assert query == f"exp={LATER}&ip=1&sig={signature.rstrip('=')}"
    assert _check(signing, query, host=host) == LATER
    assert _refused(signing, query, host="192.0.2.8") == WRONG
    assert _refused(signing, query, host="2001:db8::8") == WRONG
    assert _refused(signing, query, host="nowhere") == WRONG
    assert _refused(signing, query.replace("ip=1", "ip=0"), host=host) == WRONG


def test_a_link_for_all_is_not_one_for_whom_nobody_knows() -> None:
    signing = Signing(("secret",))
    query = signing.query("play", "live/cam", LATER)
    assert _refused(signing, f"{query}&ip=1", host="nowhere") == WRONG
    assert _check(signing, query, host="nowhere") == LATER


def test_an_address_is_the_same_however_it_is_written() -> None:
    signing = Signing(("secret",))
    query = signing.query("play", "live/cam", LATER, normal("2001:DB8:0:0::7"))
    assert _check(signing, query, host="2001:db8::7%eth0") == LATER
    assert normal("::ffff:10.0.0.1") == normal("10.0.0.1")
    assert normal("example.org") is None


def test_node_media_server() -> None:
    signing = Signing(("secret",), "node-media-server")
    made = hashlib.md5(f"/live/cam-{LATER}-secret".encode()).hexdigest()
    assert signing.query("play", "live/cam", LATER) == f"sign={LATER}-{made}"
    assert _check(signing, f"sign={LATER}-{made.upper()}") == LATER
    assert _check(signing, f"sign={LATER}-{made}", action="publish") == LATER
    assert _refused(signing, f"sign={LATER}") == WRONG


def test_secure_link() -> None:
    signing = Signing(("secret",), "secure-link")
    made = hashlib.md5(f"secret/live/cam{LATER}".encode()).digest()
    signature = base64.urlsafe_b64encode(made).decode().rstrip("=")
    assert signing.query("play", "live/cam", LATER) == f"st={signature}&e={LATER}"
    assert _check(signing, f"st={signature}&e={LATER}") == LATER
    assert _check(signing, f"md5={signature}&expires={LATER}") == LATER
    assert _refused(signing, f"st={signature}&expires={LATER}") == WRONG


def test_secure_link_with_a_text_of_nginx() -> None:
    """The example of nginx's own documentation, ngx_http_secure_link_module."""
    signing = Signing(("secret",), "secure-link", "$secure_link_expires$uri$remote_addr $secret")
    assert signing.must_bind
    query = signing.query("play", "live/cam", LATER, normal(HOST))
    made = hashlib.md5(f"{LATER}/live/cam{HOST} secret".encode()).digest()
    assert query == f"st={base64.urlsafe_b64encode(made).decode().rstrip('=')}&e={LATER}"
    assert _check(signing, query) == LATER
    assert _refused(signing, query, host="192.0.2.8") == WRONG


def test_what_looks_like_a_name_in_a_value_is_a_value() -> None:
    signing = Signing(("$uri",), "secure-link")
    made = hashlib.md5(f"$uri/live/$secret{LATER}".encode()).digest()
    signature = base64.urlsafe_b64encode(made).decode().rstrip("=")
    assert signing.query("play", "live/$secret", LATER) == f"st={signature}&e={LATER}"


@pytest.mark.parametrize("scheme", ["node-media-server", "secure-link"])
def test_what_others_do_not_bind_is_not_bound(scheme: Scheme) -> None:
    with pytest.raises(ValueError, match="not bound to an address"):
        Signing(("secret",), scheme).query("play", "live/cam", LATER, normal(HOST))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_each_scheme(scheme: Scheme) -> None:
    new, old, other = (Signing((secret,), scheme) for secret in ("new", "old", "other"))
    both = Signing(("new", "old"), scheme)
    query = old.query("play", "live/cam", LATER)
    assert _check(old, query) == _check(both, query) == LATER
    assert both.query("play", "live/cam", LATER) == new.query("play", "live/cam", LATER)
    assert _check(both, query, now_s=LATER) == LATER
    assert _refused(both, query, now_s=LATER + 1) == EXPIRED
    assert _refused(other, query) == WRONG
    assert _refused(both, query, key="live/cam2") == WRONG
    assert _refused(both, query.replace(str(LATER), str(LATER + 1))) == WRONG
    assert _refused(both, "") == NONE
    assert _refused(both, f"exp={LATER}&e={LATER}") == NONE
    for bad in ("\u0661", "", "-1", "1e9", " 1", "9" * 5_000):
        assert _refused(both, query.replace(str(LATER), bad)) == WRONG
    assert "new" not in repr(both)
    assert "old" not in repr(both)


def test_a_link_to_play_does_not_publish() -> None:
    signing = Signing(("secret",))
    assert _refused(signing, signing.query("play", "live/cam", LATER), action="publish") == WRONG
    assert _check(signing, signing.query("publish", "live/cam", LATER), action="publish") == LATER


def test_an_expiry_that_is_no_time_is_refused_though_it_is_signed() -> None:
    signing = Signing(("secret",))
    made = signing._signature("secret", "play", "live/cam", "9" * 400, "")
    assert _refused(signing, f"exp={'9' * 400}&sig={made}") == WRONG


@given(st.text(), st.text(), st.sampled_from(SCHEMES))
def test_no_text_lets_in_and_none_breaks_it(signature: str, expires: str, scheme: Scheme) -> None:
    query = f"sig={signature}&exp={expires}&st={signature}&e={expires}&sign={expires}-{signature}&ip=1"
    with pytest.raises(Exception, match=r"not right|twice") as raised:
        _check(Signing(("secret",), scheme), query)
    assert "Unclear" in type(raised.value).__name__ or isinstance(raised.value, BadLink)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_digit_of_the_key_is_none_of_the_expiry(scheme: Scheme) -> None:
    """In the text of secure-link one follows the other: a link for cam12 must not be one for cam1."""
    signing = Signing(("secret",), scheme)
    for key in ("live/cam12", "live/cam1000"):
        query = signing.query("play", key, LATER)
        for digits in range(1, 5):
            shifted = query.replace(str(LATER), f"{key[-digits:]}{LATER}")
            assert _refused(signing, shifted, key=key[:-digits]) == WRONG
    longer = signing.query("play", "live/cam", 19_999_999_999)
    assert _refused(signing, longer) == WRONG
