"""The shared objects of one worker: who uses which, what they hold, what their users are told.

RTMP 1.0, section 7.1.3, names the events; what a server does with them is Flash Media Server's. An
object lives while somebody uses it, persistent or not: nothing is written to disk, and workers do not
share objects, so users that must meet connect to a server of one worker.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeAlias, TypeVar

from cluster.core.amf import amf0
from cluster.core.amf.values import AmfValue
from cluster.core.errors import MisuseError
from cluster.core.limits import MIB
from cluster.core.rtmp.shared_object import SharedEvent, SharedEventType, SharedObjectMessage

#: Objects of one worker, of one app, so that none takes them all, and of those one user may use at a time.
MAX_OBJECTS = 1024
MAX_OBJECTS_PER_APP = 256
MAX_OBJECTS_PER_USER = 16
#: Users of one object: what one of them says goes out to each. More than that wants a server of its own.
MAX_USERS = 256
#: Properties of one object, and the bytes of all its names and values: a joiner is sent them in one go.
MAX_PROPERTIES = 256
MAX_OBJECT_BYTES = 64 * 1024
#: One SendMessage: everyone is sent it, and a user that does not read fast enough is closed.
MAX_CALL_BYTES = 64 * 1024
MAX_NAME_CHARACTERS = 1024
#: What the objects of a worker hand out in a second: changes and calls to each user, whole objects to those
#: who join. It is 34 Mbit/s at most; 200 users who hear of 20 small changes a second each stay below it.
HANDED_OUT_BYTES_PER_S = 4 * MIB
#: So much may go out at once after a quiet time. What goes beyond goes out whole, and is waited for after.
HANDED_OUT_BURST_BYTES = 8 * MIB
#: A message counts as so many bytes at least: that is what it costs to write and to send.
LEAST_HANDED_OUT_BYTES = 1024

_ERROR = "error"
_CREATION_FAILED = "SharedObject.ObjectCreationFailed"
_NO_WRITE_ACCESS = "SharedObject.NoWriteAccess"
_BAD_PERSISTENCE = "SharedObject.BadPersistence"

User = TypeVar("User", bound=Hashable)
#: App and name: an object belongs to the app its users are connected to.
_Key: TypeAlias = tuple[str, str]


@dataclass(slots=True)
class _SharedObject(Generic[User]):
    persistent: bool
    version: int = 0
    properties: dict[str, AmfValue] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    #: Users in the order they came, and whether they speak type 16.
    users: dict[User, bool] = field(default_factory=dict)


class SharedObjects(Generic[User]):
    """The registry; a user is whatever the shell identifies a connection by. ``refused`` counts what users
    asked for and were refused because of a limit."""

    def __init__(self) -> None:
        self.refused = 0
        self._objects: dict[_Key, _SharedObject[User]] = {}
        self._objects_of_app: Counter[str] = Counter()
        self._used: dict[User, set[_Key]] = {}
        #: When what has been handed out is paid for, at HANDED_OUT_BYTES_PER_S.
        self._paid_at = -inf

    def __len__(self) -> int:
        return len(self._objects)

    def uses(self, user: User) -> bool:
        """Whether the user uses any object."""
        return user in self._used

    def receive(
        self, user: User, app: str, message: SharedObjectMessage, now: float
    ) -> list[tuple[User, SharedObjectMessage]]:
        """Carry out what a user sent; returns who is to be sent what, in order. ``now`` in seconds."""
        replies: list[tuple[User, SharedObjectMessage]] = []
        key = app, message.name
        for event in message.events:
            if event.type_id == SharedEventType.USE:
                replies.append((user, self._use(user, key, message, now)))
            elif key not in self._used.get(user, ()):
                continue  # what a user does not use, it can neither change nor leave
            elif event.type_id == SharedEventType.RELEASE:
                self._release(user, key)
            else:
                replies += self._act(user, key, event, now)
        return replies

    def leave(self, user: User) -> None:
        """The user is gone."""
        for key in list(self._used.get(user, ())):
            self._release(user, key)

    def _use(
        self, user: User, key: _Key, message: SharedObjectMessage, now: float
    ) -> SharedObjectMessage:
        refusal = self._refusal(user, key, message, now)
        if refusal is not None:
            self.refused += refusal is _CREATION_FAILED
            event = SharedEvent(SharedEventType.STATUS, refusal, (_ERROR,))
            return SharedObjectMessage(message.name, 0, message.persistent, (event,), message.amf3)
        shared = self._objects.get(key)
        if shared is None:
            shared = self._objects[key] = _SharedObject(message.persistent)
            self._objects_of_app[key[0]] += 1
        shared.users[user] = message.amf3
        self._used.setdefault(user, set()).add(key)
        self._hand_out(sum(shared.sizes.values()), 1, now)
        events = [SharedEvent(SharedEventType.USE_SUCCESS), SharedEvent(SharedEventType.CLEAR)]
        changes = [
            SharedEvent(SharedEventType.CHANGE, name, (value,)) for name, value in shared.properties.items()
        ]
        return _about(key, shared, user, *events, *changes)

    def _refusal(self, user: User, key: _Key, message: SharedObjectMessage, now: float) -> str | None:
        shared = self._objects.get(key)
        if shared is not None and shared.persistent != message.persistent:
            return _BAD_PERSISTENCE
        used = self._used.get(user, ())
        is_full = key not in used and (
            len(used) >= MAX_OBJECTS_PER_USER or (shared is not None and len(shared.users) >= MAX_USERS)
        )
        no_room = shared is None and (
            len(self._objects) >= MAX_OBJECTS or self._objects_of_app[key[0]] >= MAX_OBJECTS_PER_APP
        )
        if is_full or no_room or not self._may_hand_out(now):
            return _CREATION_FAILED
        return None if 0 < len(message.name) <= MAX_NAME_CHARACTERS else _CREATION_FAILED

    def _release(self, user: User, key: _Key) -> None:
        shared = self._objects[key]
        del shared.users[user]
        if not shared.users:
            del self._objects[key]
            self._objects_of_app[key[0]] -= 1
            if not self._objects_of_app[key[0]]:
                del self._objects_of_app[key[0]]
        used = self._used[user]
        used.remove(key)
        if not used:
            del self._used[user]

    def _act(
        self, user: User, key: _Key, event: SharedEvent, now: float
    ) -> list[tuple[User, SharedObjectMessage]]:
        shared = self._objects[key]
        told = mine = event
        if event.type_id == SharedEventType.SEND_MESSAGE:
            size_bytes = _size_bytes(event.name, *event.values)
            if size_bytes is None or size_bytes > MAX_CALL_BYTES or not self._may_hand_out(now):
                return self._refuse(user, key)
        elif event.type_id == SharedEventType.REQUEST_REMOVE:
            if event.name not in shared.properties:
                return []
            if not self._may_hand_out(now):
                return self._refuse(user, key)
            size_bytes = 0
            del shared.properties[event.name], shared.sizes[event.name]
            shared.version += 1
            told = mine = SharedEvent(SharedEventType.REMOVE, event.name)
        elif event.type_id == SharedEventType.REQUEST_CHANGE:
            if not self._may_hand_out(now) or not _set(shared, event.name, event.values[0]):
                return self._refuse(user, key)
            size_bytes = shared.sizes[event.name]
            told = SharedEvent(SharedEventType.CHANGE, event.name, event.values)
            mine = SharedEvent(SharedEventType.SUCCESS, event.name)
        else:
            return []  # the others are a server's to send
        self._hand_out(size_bytes, len(shared.users), now)
        return [
            (each, _about(key, shared, each, mine if each == user else told)) for each in shared.users
        ]

    def _refuse(self, user: User, key: _Key) -> list[tuple[User, SharedObjectMessage]]:
        self.refused += 1
        event = SharedEvent(SharedEventType.STATUS, _NO_WRITE_ACCESS, (_ERROR,))
        return [(user, _about(key, self._objects[key], user, event))]

    # ---- what is handed out ------------------------------------------------------------------

    def _may_hand_out(self, now: float) -> bool:
        return self._paid_at <= now

    def _hand_out(self, size_bytes: int, users: int, now: float) -> None:
        handed_out = users * max(size_bytes, LEAST_HANDED_OUT_BYTES)
        since = max(self._paid_at, now - HANDED_OUT_BURST_BYTES / HANDED_OUT_BYTES_PER_S)
        self._paid_at = since + handed_out / HANDED_OUT_BYTES_PER_S


def _set(shared: _SharedObject[User], name: str, value: AmfValue) -> bool:
    """Set one property; False if the object would exceed its bounds."""
    size_bytes = _size_bytes(name, value)
    others = sum(shared.sizes.values()) - shared.sizes.get(name, 0)
    if size_bytes is None or others + size_bytes > MAX_OBJECT_BYTES:
        return False
    if name not in shared.properties and len(shared.properties) >= MAX_PROPERTIES:
        return False
    shared.properties[name] = value
    shared.sizes[name] = size_bytes
    shared.version += 1
    return True


def _size_bytes(*values: AmfValue) -> int | None:
    """What the values take when they are passed on; None if they cannot be.

    A value that was read may hold itself, or, by references, much more than its bytes suggest.
    """
    try:
        return len(amf0.encode(*values))
    except MisuseError:
        return None


def _about(
    key: _Key, shared: _SharedObject[User], user: User, *events: SharedEvent
) -> SharedObjectMessage:
    """A message to one user, in the type it speaks."""
    return SharedObjectMessage(key[1], shared.version, shared.persistent, events, shared.users[user])
