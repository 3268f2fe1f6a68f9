"""Publish an FLV file in real time: publish_file.py FILE.flv rtmp://HOST/APP/STREAM"""

import asyncio
import sys

from cluster.client import FlvSource, RtmpError, connect


async def main(path: str, url: str) -> None:
    async with connect(url, publisher=True) as connection, await connection.publish() as publication:
        async for message in FlvSource(path):
            await publication.send(message)
    print("published")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except RtmpError as error:
        sys.exit(str(error))
