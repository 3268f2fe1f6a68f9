"""Environment variables with our prefix that nobody reads: most likely misspelt."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Final

from cluster.process.options import PREFIX, Option

#: Kubernetes tells each pod of each service so, and a service may well be called rtmp-cluster-router.
_OF_A_SERVICE: Final = re.compile(
    r"\w*_SERVICE_(HOST|PORT(_\w+)?)|\w*_PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?"
)


def unknown(environment: Mapping[str, str], options: Collection[Option]) -> Iterator[tuple[str, str]]:
    """Each variable of our prefix that is none of these options', and what to do about it."""
    variables = {option.env for option in options}
    #: What somebody may have meant, without the prefix: a variable, or a flag that it is not named after.
    words = {option.flag.strip("-").replace("-", "_").upper(): option.env for option in options}
    words |= {variable.removeprefix(PREFIX): variable for variable in variables}
    words |= {"_".join(reversed(word.split("_"))): words[word] for word in words}  # TLS_BIND
    for name in sorted(environment):
        if not name.startswith(PREFIX) or name in variables:
            continue
        if "KUBERNETES_SERVICE_HOST" in environment and _OF_A_SERVICE.fullmatch(name):
            continue
        near = difflib.get_close_matches(name.removeprefix(PREFIX), sorted(words), 1)
        yield name, f"did you mean {words[near[0]]}?" if near else "rtmp-cluster edge --help has them all"
