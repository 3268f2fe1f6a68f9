"""A node that is stopped for a while, as by a host that is paused, and goes on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import psutil
from hosts_cluster import HostedCluster

from support.rtmp_peer import FRAMES_PER_SECOND

#: Long enough for every heartbeat to be missed: those of libzmq, of the routers and of the supervisor.
STOPPED_S = (8.0, 12.0)


def test_a_node_that_was_stopped_goes_on_with_the_same_processes(
    cluster: HostedCluster, figure: Callable[[str], None]
) -> None:
    """Twice: what libzmq queues may differ the second time. All that b plays comes to it by its repeaters,
    and much of it waits there when it goes on."""
    node = cluster.nodes["b"]
    supervisor = psutil.Process(node.pid)
    everybody = [supervisor, *supervisor.children(recursive=True)]
    publishers = {f"stopped{number}": cluster.publish("a", f"stopped{number}") for number in range(4)}
    for name in publishers:
        cluster.play("b", name).wait_for_frames(FRAMES_PER_SECOND)
    for stopped_s in STOPPED_S:
        for process in everybody:
            os.kill(process.pid, signal.SIGSTOP)
        try:
            time.sleep(stopped_s)
        finally:
            for process in everybody:
                os.kill(process.pid, signal.SIGCONT)
        began_at = time.monotonic()
        for name in publishers:
            cluster.play("b", name).wait_for_frames(1)
        figure(f"stopped for {stopped_s:g} s: all is played after {time.monotonic() - began_at:.2f} s")
        cluster.wait_joined(node)
        time.sleep(2.5)  # a process that does not survive it may die in what a node does every other second
        assert [supervisor, *supervisor.children(recursive=True)] == everybody
