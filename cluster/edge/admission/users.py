"""Users whose passwords stand in the configuration, plain or hashed.

All comparisons take as long as they take, right or wrong; an unknown user is compared with a password that
nobody has, and hashed as those are who are. A slow hash is made on a thread: it takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import importlib.util
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final, Protocol

#: Those who wait for a slow hash. One thread makes fifty a second or fewer: who comes later has no chance.
MAX_LOGINS_WAITING: Final = 100
#: Of one address: who guesses from there makes others wait for a second, and shuts out nobody else.
MAX_LOGINS_OF_ADDRESS: Final = 10
#: Of scrypt's memory: one hash at a time is made.
_MOST_SCRYPT_BYTES: Final = 128 << 20

_SCRYPT_COST: Final = (
    "scrypt's N must be a power of two, R * P at most 64, "
    f"128 * N * R at most {_MOST_SCRYPT_BYTES >> 20} MiB"
)

_SHA256 = "sha256:"
_ARGON2 = "argon2:"
_SCRYPT = "scrypt:"


class TooManyLogins(Exception):
    """More wait for a slow hash than can be served in time."""


class Password(Protocol):
    """What is known of one user's password."""

    @property
    def is_slow(self) -> bool:
        """A check of it is too long for a loop that serves others."""

    def is_right(self, given: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Plain:
    """A password that is one of ``texts``."""

    texts: tuple[str, ...] = field(repr=False)
    is_slow: bool = False

    def is_right(self, given: bytes) -> bool:
        # Of the digests, whose length says nothing.
        digest = hashlib.sha256(given).hexdigest()
        return is_one_of(digest, (hashlib.sha256(raw(text)).hexdigest() for text in self.texts))


@dataclass(frozen=True, slots=True)
class Sha256:
    """The digest alone is known."""

    digest: bytes = field(repr=False)
    is_slow: bool = False

    def is_right(self, given: bytes) -> bool:
        return hmac.compare_digest(self.digest, hashlib.sha256(given).digest())


@dataclass(frozen=True, slots=True)
class Scrypt:
    """The hash of RFC 7914, with its cost."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    hash: bytes = field(repr=False)
    is_slow: bool = True

    def is_right(self, given: bytes) -> bool:
        made = hashlib.scrypt(
            given, salt=self.salt, n=self.n, r=self.r, p=self.p, dklen=len(self.hash),
            maxmem=2 * _MOST_SCRYPT_BYTES,
        )  # fmt: skip
        return hmac.compare_digest(self.hash, made)


@dataclass(frozen=True, slots=True)
class Argon2:
    """What argon2-cffi reads, its cost in it."""

    text: str = field(repr=False)
    is_slow: bool = True

    def is_right(self, given: bytes) -> bool:
        import argon2

        try:
            return bool(argon2.PasswordHasher().verify(self.text, given))
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False


def raw(text: str) -> bytes:
    """A peer's text need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def is_one_of(given: str, wanted: Iterable[str]) -> bool:
    """Whether it is one of these secrets, in a time that says neither which nor how much of it is right."""
    found = False
    for each in wanted:
        found |= hmac.compare_digest(raw(each), raw(given))
    return found


def read_hash(text: str) -> Password:
    """What ``password_hash`` says; ValueError says what it accepts, and repeats nothing of it."""
    if text.startswith(_SHA256):
        digest = _base64(text.removeprefix(_SHA256))
        if len(digest) != hashlib.sha256().digest_size:
            raise ValueError("the base64 behind sha256: must be of 32 bytes")
        return Sha256(digest)
    if text.startswith(_SCRYPT):
        return _scrypt(text.removeprefix(_SCRYPT))
    if text.startswith(_ARGON2):
        if importlib.util.find_spec("argon2") is None:
            raise ValueError("argon2 needs the package argon2-cffi: pip install argon2-cffi")
        import argon2

        text = text.removeprefix(_ARGON2)
        try:
            argon2.extract_parameters(text)
        except argon2.exceptions.InvalidHashError:
            raise ValueError("what follows argon2: must begin with $argon2id$") from None
        return Argon2(text)
    raise ValueError("must begin with sha256:, scrypt: or argon2:")


def _scrypt(text: str) -> Scrypt:
    parts = text.split(":")
    if len(parts) != 5 or not all(part.isascii() and part.isdigit() for part in parts[:3]):
        raise ValueError("must be scrypt:N:R:P:SALT:HASH, the last two in base64")
    n, r, p = (int(part[:10]) for part in parts[:3])
    if n < 2 or n & (n - 1) or not 1 <= r * p <= 64 or 128 * n * r > _MOST_SCRYPT_BYTES:
        raise ValueError(_SCRYPT_COST)
    salt, made = _base64(parts[3]), _base64(parts[4])
    if not 16 <= len(made) <= 64:
        raise ValueError("the hash of scrypt must have 16 to 64 bytes")
    return Scrypt(n, r, p, salt, made)


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("what must be base64 in it is not") from None


class Users:
    """The users of one configuration."""

    def __init__(self, passwords: Mapping[str, Password]) -> None:
        self._passwords = dict(passwords)
        slow = [each for each in passwords.values() if each.is_slow]
        #: What costs as much as the user's own, where there is none.
        self._nobody: Password = slow[0] if slow else Plain((secrets.token_hex(),))
        self._has_slow = bool(slow)
        self._thread: ThreadPoolExecutor | None = None
        self._waiting: Counter[str] = Counter()  # by address
        #: Of users with a slow hash who have shown the right password: its digest, under a key of our own.
        #: Those who come back need not wait behind those who guess.
        self._key = secrets.token_bytes(32)
        self._proven: dict[str, bytes] = {}

    def __contains__(self, user: str) -> bool:
        return user in self._passwords

    def plain(self, user: str) -> tuple[str, ...]:
        """The passwords of a user where they are known as they are; none of one who is unknown."""
        password = self._passwords.get(user)
        return password.texts if isinstance(password, Plain) else ()

    def is_right(self, user: str, given: str) -> bool | None:
        """Whether this is the password of that user; None if ``is_right_slowly`` has to be asked."""
        said = raw(given)
        password = self._passwords.get(user, self._nobody)
        if not password.is_slow:
            right = password.is_right(said) and user in self._passwords
            # A wrong one is hashed slowly too, so that nobody sees whose hash is quick.
            return right if right or not self._has_slow else None
        return True if hmac.compare_digest(self._proven.get(user, b""), self._digest(said)) else None

    async def is_right_slowly(self, user: str, given: str, address: str = "") -> bool:
        """The same, for what takes long. TooManyLogins if it would take far too long; ``address``: of who
        asks."""
        waiting = self._waiting
        if waiting.total() >= MAX_LOGINS_WAITING or waiting[address] >= MAX_LOGINS_OF_ADDRESS:
            raise TooManyLogins
        said = raw(given)
        own = self._passwords.get(user, self._nobody)
        password = own if own.is_slow else self._nobody
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "passwords")
        waiting[address] += 1
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._thread, password.is_right, said)
        finally:
            waiting[address] -= 1
            if not waiting[address]:
                del waiting[address]
        if not right or password is not self._passwords.get(user):
            return False
        self._proven[user] = self._digest(said)
        return True

    def _digest(self, said: bytes) -> bytes:
        return hmac.digest(self._key, said, "sha256")
