"""Who is there, and what does it say? talk_to_server.py rtmp://HOST/APP [METHOD]"""

import asyncio
import sys

from cluster.client import CallError, ClusterError, ConnectRejected, Timeout, Unreachable, connect


async def main(url: str, method: str = "getStreamLength") -> None:
    try:
        async with connect(url, timeout_s=5) as connection:
            connection.answer("onBWDone", lambda *_: None)  # servers may call us, too
            print(f"{connection.url}: {connection.handshake_kind}, {connection.properties!r}")
            try:
                print(f"{method} returned {await connection.call(method, 'cam')!r}")
            except CallError as error:
                print(f"{method} failed: {error.code} {error.description}")
    except ConnectRejected as rejected:
        print(f"rejected: {rejected.code} {rejected.description}")
    except (Unreachable, Timeout) as error:
        print(f"not there: {error}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ClusterError as error:  # all that the library raises
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
