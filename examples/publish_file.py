"""Publish an FLV file in real time: publish_file.py FILE.flv rtmp://HOST/APP/STREAM"""

import asyncio
import sys

from cluster.client import ClusterError, FlvSource, connect


async def main(path: str, url: str) -> None:
    async with connect(url, publisher=True) as connection, await connection.publish() as publication:
        async for message in FlvSource(path):
            await publication.send(message)
    print("published")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ClusterError as error:  # all that the library raises
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
