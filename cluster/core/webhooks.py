"""Standard Webhooks 1.0.0: how what is sent to somebody's program is signed, with symmetric keys."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence


def signed_headers(secrets: Sequence[bytes], webhook_id: str, now_s: float, body: bytes) -> dict[str, str]:
    """The header fields of one attempt to deliver ``body``, ``now_s`` seconds after 1970.

    With several secrets each signs: a receiver that knows one of them is content. Without any it is not
    signed.
    """
    stamp = str(int(now_s))
    headers = {"webhook-id": webhook_id, "webhook-timestamp": stamp}
    text = f"{webhook_id}.{stamp}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(secret, text, hashlib.sha256)) for secret in secrets]
    if signatures:
        headers["webhook-signature"] = " ".join(f"v1,{signature.decode()}" for signature in signatures)
    return headers
