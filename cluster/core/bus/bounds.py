"""How long both ends of the bus wait and how much they queue: what edge and router must agree on."""

from __future__ import annotations

from cluster.core.limits import MIB

# ---- time ------------------------------------------------------------------------------------

#: A worker tells every router that it lives, and with what load; the router answers each time.
HEARTBEAT_INTERVAL_S = 0.1
#: The same to a router on this host (ipc): the kernel says at once when it dies, and there is no other
#: to move to, so wake-ups would be all that a faster beat buys.
LOCAL_HEARTBEAT_INTERVAL_S = 0.5
#: A router that leaves a heartbeat unanswered for this long is dead to the worker.
ROUTER_TIMEOUT_S = 0.5
#: A worker not heard of for this long is dead to the router: long enough for a stalled event loop.
WORKER_TIMEOUT_S = 1.5
#: How long a live origin may take to say whether it yields its stream key.
CONTEST_TIMEOUT_S = 1.0
#: A publisher is not kept waiting longer than this for a router that does not answer.
GRANT_TIMEOUT_S = 0.5
#: An origin holds a snapshot back until the asking worker's subscription is seen, but not longer.
SNAPSHOT_HOLD_S = 0.25
#: An unanswered request for a snapshot is repeated after this long.
SNAPSHOT_RETRY_S = 0.5
#: Requests for snapshots of one stream are at least this far apart, whatever the answers are like.
SNAPSHOT_INTERVAL_S = 0.1
#: Both routers are subscribed at for this long when a subscription moves from one to the other.
OVERLAP_S = 0.5
#: A stream that a router does not confirm for this long after a watch was set there has ended.
CONFIRM_TIMEOUT_S = 2.0

#: libzmq's own heartbeats, which close a connection whose peer vanished without a word.
ZMQ_HEARTBEAT_INTERVAL_MS = 250
ZMQ_HEARTBEAT_TIMEOUT_MS = 1_000
#: Between attempts to reach a router that is away.
ZMQ_RECONNECT_MS = 100
#: A connection attempt into a black hole is given up and repeated after this long.
ZMQ_CONNECT_TIMEOUT_MS = 1_000

# ---- memory ----------------------------------------------------------------------------------

#: Envelopes queued per connection: over half a second at the rate a saturated router moves.
DATA_HIGH_WATER_MARK = 2_000
#: Control messages queued per connection.
CONTROL_HIGH_WATER_MARK = 2_000
#: Larger frames close the connection: a snapshot is a stream log (32 MiB) and its headers.
MAX_FRAME_BYTES = 64 * MIB
#: A stream key on the wire; RTMP names may be longer than any sane one, never unbounded.
MAX_KEY_BYTES = 4_096
#: Publish requests waiting for one contested key; one more is refused as busy.
MAX_WAITING_PUBLISHERS = 8
#: Ended stream keys whose last epoch is remembered; the oldest is forgotten first.
MAX_ENDED_EPOCHS = 10_000
