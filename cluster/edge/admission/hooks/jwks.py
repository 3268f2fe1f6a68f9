"""Public keys of tokens, fetched from an address (JWKS, RFC 7517)."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING

from cluster.edge.admission.hooks.http_client import HttpClient, NoReply
from cluster.edge.admission.hooks.masking import host_of_address
from cluster.edge.admission.hooks.questions import Reply
from cluster.edge.admission.interfaces import KeysUnavailable
from cluster.process.complaints import Complaints

if TYPE_CHECKING:
    from jwt import PyJWK

logger = logging.getLogger(__name__)

#: So long keys count before they are fetched again: what MediaMTX and many libraries take.
KEEP_S = 3_600.0
#: At the earliest so long after a fetch an unknown name of a key causes another. A new key counts as soon
#: as that, and tokens with invented names cost no more than this.
REFETCH_S = 30.0
#: And so long after one that failed, if there are no keys yet: those who ask meanwhile hear it at once.
RETRY_S = 5.0
#: For one fetch as a whole.
TIMEOUT_S = 5.0
#: Google's have 2 KiB, those of a large Keycloak 20 KiB with their certificates.
MAX_ANSWER_BYTES = 262_144
#: An issuer has two or three; each costs some tens of microseconds to read.
MAX_KEYS = 100


class JwksKeys:
    """The keys at ``address``, fetched when they are first needed.

    Keys that were fetched count until others are: who cannot be reached takes no key away.
    """

    def __init__(self, address: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self._clock = clock
        self._client = HttpClient(MAX_ANSWER_BYTES)
        self._keys: dict[str, PyJWK] | None = None
        #: When keys came last, and when a fetch last ended, with what went wrong, "" if nothing has.
        self._fetched_at = self._tried_at = -inf
        self._failure = ""
        self._fetching: asyncio.Task[None] | None = None
        self._complaints = Complaints(logger, "keys_failed")

    async def key(self, kid: str) -> PyJWK | None:
        """The key of this name; "" is for the only one."""
        now = self._clock()
        is_needed = self._find(kid) is None or now >= self._fetched_at + KEEP_S
        if is_needed and now >= self._tried_at + (RETRY_S if self._keys is None else REFETCH_S):
            await self._fetch()
        if self._keys is None:
            raise KeysUnavailable(self._failure)
        return self._find(kid)

    def look_again(self) -> None:
        """Fetch them with the next token, however long ago that was done; until then those from before
        count."""
        self._fetched_at = self._tried_at = -inf

    async def close(self) -> None:
        """Fetch nothing any more."""
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        await self._client.close()

    def _find(self, kid: str) -> PyJWK | None:
        if self._keys is None:
            return None
        if not kid:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        """Fetch them once for all who wait. Whoever leaves meanwhile takes nothing from the others."""
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch_now())
        await asyncio.wait([self._fetching])

    async def _fetch_now(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = await self._client.send("GET", self.address, {"Accept": "application/json"})
                # In a thread, as it takes long: media is to go on meanwhile.
                await asyncio.to_thread(importlib.import_module, "jwt")
            self._keys = _keys_in(reply)
            self._fetched_at = self._clock()
            self._failure = ""
        except (NoReply, ValueError) as error:
            self._failure = str(error)
        except TimeoutError:
            self._failure = f"no answer within {TIMEOUT_S:g} s"
        finally:
            self._tried_at = self._clock()
            self._fetching = None
        if self._failure:
            self._complaints.warn_about(
                "",
                "the keys of tokens cannot be fetched from %(host)s: %(why)s; %(rest)s",
                {
                    "host": host_of_address(self.address), "why": self._failure,
                    "rest": "no token is good" if self._keys is None else "those from before count",
                },
            )  # fmt: skip


def _keys_in(reply: Reply) -> dict[str, PyJWK]:
    """The keys that tokens may be signed with, by name. ValueError says what is wrong with the reply."""
    from jwt import PyJWK, PyJWTError

    if reply.status != 200:
        raise ValueError(f"status {reply.status}")
    if not reply.is_whole:
        raise ValueError(f"more than {MAX_ANSWER_BYTES} bytes")
    try:
        listed = json.loads(reply.body)["keys"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ValueError('what comes back is not JSON with "keys"') from None
    found: dict[str, PyJWK] = {}
    for each in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        # A symmetric key in a public place is no secret; keys for encryption sign nothing.
        if not isinstance(each, dict) or each.get("kty") == "oct" or each.get("use", "sig") != "sig":
            continue
        try:
            key = PyJWK.from_dict(each)
        except (PyJWTError, ValueError, TypeError, KeyError, NotImplementedError):  # of alg "none"
            continue
        found.setdefault(str(each.get("kid") or ""), key)
    if not found:
        raise ValueError("there is no key in it that a token can be signed with")
    return found
