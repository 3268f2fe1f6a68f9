"""Passwords: plain and hashed, several of one user, and what it costs to find out who exists."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re

import argon2
import pytest

from cluster.edge.admission import users
from cluster.edge.admission.users import Password, Plain, TooManyLogins, Users, read_hash

SALT = b"0123456789abcdef"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sha256(password: str) -> str:
    return f"sha256:{_base64(hashlib.sha256(password.encode()).digest())}"


def _scrypt(password: str, n: int = 1_024) -> str:
    made = hashlib.scrypt(password.encode(), salt=SALT, n=n, r=8, p=1, dklen=32)
    return f"scrypt:{n}:8:1:{_base64(SALT)}:{_base64(made)}"


def _argon2(password: str) -> str:
    return f"argon2:{argon2.PasswordHasher(1, 8, 1).hash(password)}"


HASHES = [_sha256("pässword"), _scrypt("pässword"), _argon2("pässword")]


@pytest.mark.parametrize("text", HASHES, ids=lambda text: text.partition(":")[0])
def test_a_hash_knows_its_password(text: str) -> None:
    known = read_hash(text)
    assert known.is_right("pässword".encode())
    assert not known.is_right(b"password")
    assert not known.is_right(b"")
    assert text.rpartition(":")[2] not in repr(known)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hunter2", "must begin with sha256:, scrypt: or argon2:"),
        ("sha256:hunter2", "must be of 32 bytes"),
        ("sha256:hunter2!", "must be base64"),
        ("scrypt:16384:8:1:hunter2", "must be scrypt:N:R:P:SALT:HASH"),
        ("scrypt:x:8:1:c2FsdA:hunter2=", "must be scrypt:N:R:P:SALT:HASH"),
        ("scrypt:1000:8:1:c2FsdA:hunter22", "power of two"),
        ("scrypt:4294967296:8:1:c2FsdA:hunter22", "power of two"),
        (f"scrypt:{'9' * 5000}:8:1:c2FsdA:hunter22", "power of two"),
        ("scrypt:1024:8:9999:c2FsdA:hunter22", "R * P at most 64"),
        ("scrypt:1024:0:1:c2FsdA:hunter22", "R * P at most 64"),
        ("scrypt:1024:8:1:c2FsdA:hunter22", "16 to 64 bytes"),
        ("argon2:hunter2", "must begin with"),
    ],
)
def test_a_bad_hash_is_told_and_not_repeated(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)) as raised:
        read_hash(text)
    assert "hunter2" not in str(raised.value)


def test_argon2_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install argon2-cffi"):
        read_hash(HASHES[2])


def test_any_of_several_passwords_is_right() -> None:
    known = Users({"studio": Plain(("old", "new"))})
    assert known.is_right("studio", "old") is known.is_right("studio", "new") is True
    for wrong in ("", "ol", "oldnew", "\udcff"):
        assert known.is_right("studio", wrong) is False
    assert known.is_right("nobody", "old") is False
    assert known.plain("studio") == ("old", "new")
    assert known.plain("nobody") == ()
    assert "old" not in repr(Plain(("old",)))


def test_an_unknown_user_costs_a_comparison_too() -> None:
    class Counting:
        is_slow = False
        asked = 0

        def is_right(self, given: bytes) -> bool:
            self.asked += 1
            return False

    known = Users({})
    known._nobody = counting = Counting()
    assert known.is_right("nobody", "x") is False
    assert counting.asked == 1


async def _asked(known: Users, user: str, password: str) -> bool:
    right = known.is_right(user, password)
    return await known.is_right_slowly(user, password) if right is None else right


def test_a_slow_hash_is_asked_once_of_each_who_knows_the_password() -> None:
    asyncio.run(_ask_slow_ones())


async def _ask_slow_ones() -> None:
    known = Users({"slow": read_hash(_scrypt("pw")), "quick": Plain(("pw",))})
    assert known.is_right("slow", "pw") is None
    assert await _asked(known, "slow", "pw")
    assert known.is_right("slow", "pw") is True
    assert known.is_right("slow", "no") is None
    assert not await _asked(known, "slow", "no")
    assert known.is_right("slow", "no") is None
    # Whoever is not there, or has a quick hash, is no sooner told that it is wrong.
    assert known.is_right("nobody", "pw") is None
    assert not await _asked(known, "nobody", "pw")
    assert known.is_right("quick", "no") is None
    assert not await _asked(known, "quick", "no")
    assert known.is_right("quick", "pw") is True
    # The hash that stands in for theirs lets nobody in who knows its password.
    assert not await known.is_right_slowly("quick", "pw")
    assert not await known.is_right_slowly("nobody", "pw")


def test_as_many_wait_for_a_slow_hash_as_can_be_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "MAX_LOGINS_WAITING", 3)
    slow: Password = read_hash(_scrypt("pw"))

    async def ask() -> list[object]:
        known = Users({"slow": slow})
        asked = (known.is_right_slowly("slow", str(number)) for number in range(4))
        first = await asyncio.gather(*asked, return_exceptions=True)
        return [*first, await known.is_right_slowly("slow", "pw")]

    *answers, last = asyncio.run(ask())
    assert answers[:3] == [False, False, False]
    assert isinstance(answers[3], TooManyLogins)
    assert last is True


def test_who_leaves_meanwhile_is_not_waited_for() -> None:
    async def leave() -> int:
        known = Users({"slow": read_hash(_scrypt("pw"))})
        tasks = [asyncio.ensure_future(known.is_right_slowly("slow", "no")) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return known._waiting.total()

    assert asyncio.run(leave()) == 0


def test_who_guesses_from_one_address_shuts_out_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(users, "MAX_LOGINS_OF_ADDRESS", 2)

    async def ask() -> list[object]:
        known = Users({"slow": read_hash(_scrypt("pw"))})
        guesses = [known.is_right_slowly("slow", str(number), "192.0.2.7") for number in range(4)]
        other = known.is_right_slowly("slow", "pw", "192.0.2.8")
        return await asyncio.gather(*guesses, other, return_exceptions=True)

    *guesses, other = asyncio.run(ask())
    assert guesses[:2] == [False, False]
    assert all(isinstance(each, TooManyLogins) for each in guesses[2:])
    assert other is True
