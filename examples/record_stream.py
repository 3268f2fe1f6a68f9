"""Record a stream until it ends: record_stream.py rtmp://HOST/APP/STREAM FILE.flv"""

import asyncio
import sys

from cluster.client import ClusterError, FlvSink, PlayFailed, connect


async def main(url: str, path: str) -> None:
    async with connect(url) as connection, await connection.play() as playback:
        with FlvSink(path) as sink:
            try:
                async for message in playback:
                    sink.write(message)
            except PlayFailed as failed:
                print(f"the server says {failed.code}: {failed.description}")
    print(f"{sink.tags} tags, {sink.duration_ms / 1000:.1f} s")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ClusterError as error:  # all that the library raises
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
