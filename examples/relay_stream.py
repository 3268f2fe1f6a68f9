"""Play from one server, publish to another, whatever happens to either: relay_stream.py FROM_URL TO_URL"""

import asyncio
import sys

from cluster.client import Backoff, ClusterError, reconnecting


async def main(from_url: str, to_url: str) -> None:
    backoff = Backoff(first_s=0.5, max_s=10)
    async with (
        reconnecting(from_url, backoff=backoff).play() as playback,
        reconnecting(to_url, backoff=backoff, publisher=True).publish() as publication,
    ):
        async for message in playback:
            await publication.send(message)
    print(f"{playback.reconnects} and {publication.reconnects} reconnects, {publication.dropped} dropped")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        asyncio.run(main(*sys.argv[1:]))
    except ClusterError as error:  # all that the library raises
        sys.exit(str(error))
    except KeyboardInterrupt:
        pass
