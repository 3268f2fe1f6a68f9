"""Publish what a program makes, stamped by the stream's clock: generate_stream.py rtmp://HOST/APP/STREAM"""

import asyncio
import sys

from cluster.client import ClusterError, ConnectionClosed, PublishRefused, connect

BEEPS = 50
SPEEX_HEADER = b"\xb6"


async def main(url: str) -> None:
    async with connect(url) as connection, await connection.publish() as publication:
        await publication.send_metadata({"title": "a generated stream", "audiocodecid": 11})
        try:
            for number in range(BEEPS):
                await publication.send_audio(SPEEX_HEADER + bytes(40))
                if number % 25 == 0:
                    await publication.send_data("onCuePoint", {"name": f"beep {number}"})
                await asyncio.sleep(0.02)
        except (ConnectionClosed, PublishRefused) as error:
            sys.exit(f"the server ended it: {error}")
    print(f"{BEEPS} beeps")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ClusterError as error:  # all that the library raises
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
