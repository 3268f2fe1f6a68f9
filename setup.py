"""The build. ``pyproject.toml`` says all but for one choice: with RTMP_CLUSTER_COMPILED=1 set, mypyc makes
extensions of the modules that every message passes, from the same source. Without it nothing is
compiled, and neither mypy nor a C compiler is needed.
"""

import os

from setuptools import setup

#: What every message passes, and what must be compiled with it: a compiled class cannot be the base of one
#: that is not, so all sessions go together. Of the modules on the same path these are left out on purpose:
#: cluster/edge/streams/fan_out.py: before Python 3.13 a compiled ``list.extend`` loses what came before an
#:     exception, and ``send_to_all`` goes on from there; it would never end.
#: cluster/core/media/classify.py: the C compiler takes minutes for its flags.
#: cluster/edge/rtmp/connection.py: its base is also that of connections of HTTP, which are not compiled.
COMPILED = [
    "cluster/core/message.py",
    "cluster/core/rtmp/acknowledgement.py",
    "cluster/core/rtmp/chunk_reader.py",
    "cluster/core/rtmp/chunk_stream.py",
    "cluster/core/rtmp/chunk_writer.py",
    "cluster/core/rtmp/client_session.py",
    "cluster/core/rtmp/server_commands.py",
    "cluster/core/rtmp/server_session.py",
    "cluster/core/rtmp/server_streams.py",
    "cluster/core/rtmp/session.py",
    "cluster/core/rtmp/session_output.py",
    "cluster/core/media/log_entry.py",
    "cluster/core/media/log_headers.py",
    "cluster/core/media/stream_log.py",
    "cluster/core/media/timeline.py",
    "cluster/core/bus/envelope.py",
    "cluster/core/bus/splice.py",
    "cluster/edge/rtmp/encoding.py",
    "cluster/edge/rtmp/logged_session.py",
    "cluster/edge/rtmp/low_water.py",
    "cluster/edge/streams/audio_hold.py",
    "cluster/edge/streams/publishing.py",
    "cluster/edge/streams/stream.py",
    "cluster/edge/streams/turn.py",
    "cluster/net/poller.py",
    "cluster/net/wake_ups.py",
]


def main() -> None:
    if os.environ.get("RTMP_CLUSTER_COMPILED") != "1":
        setup()
        return
    needs = ["mypy>=2"]
    try:
        from mypyc.build import mypycify
    except ImportError:  # so far it is only asked what the build needs
        setup(setup_requires=needs)
        return
    arguments = ["--config-file=pyproject.toml", *COMPILED]
    setup(setup_requires=needs, ext_modules=mypycify(arguments, opt_level="2", group_name="rtmp_cluster"))


if __name__ == "__main__":
    main()
