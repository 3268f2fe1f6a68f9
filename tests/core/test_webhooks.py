"""Signatures of Standard Webhooks: the example of its own libraries, and several keys at once."""

from __future__ import annotations

import base64

from cluster.core.webhooks import signed_headers

#: The example that the convention's own libraries are tested with.
KEY = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(*secrets: bytes) -> dict[str, str]:
    return signed_headers(secrets, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.9, b'{"test": 2432232314}')


def test_the_example_of_the_convention() -> None:
    assert headers(KEY) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": SIGNATURE,
    }


def test_each_of_several_keys_signs() -> None:
    both = headers(bytes(24), KEY)["webhook-signature"].split()
    assert len(set(both)) == 2
    assert both[1] == SIGNATURE


def test_without_a_key_nothing_is_signed() -> None:
    assert sorted(headers()) == ["webhook-id", "webhook-timestamp"]
