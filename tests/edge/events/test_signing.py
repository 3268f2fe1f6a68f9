"""Signatures by Standard Webhooks, against the example of its own libraries."""

from __future__ import annotations

import base64

from cluster.edge.events.signing import signed_headers

SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
ID, STAMP, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330.7, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_convention() -> None:
    assert signed_headers([SECRET], ID, STAMP, BODY) == {
        "webhook-id": ID, "webhook-timestamp": "1614265330", "webhook-signature": SIGNATURE,
    }  # fmt: skip


def test_each_of_several_secrets_signs() -> None:
    signed = signed_headers([b"x" * 32, SECRET], ID, STAMP, BODY)["webhook-signature"].split(" ")
    assert len(signed) == 2
    assert signed[1] == SIGNATURE
    assert signed[0] != SIGNATURE


def test_without_a_secret_nothing_is_signed() -> None:
    assert signed_headers([], ID, STAMP, BODY).keys() == {"webhook-id", "webhook-timestamp"}
