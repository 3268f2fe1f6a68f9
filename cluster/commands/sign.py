"""``rtmp-cluster sign``: an address that lets whoever has it do one thing until it expires."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import click

from cluster.commands.declared import FILE_OPTIONS, FILE_TABLES
from cluster.core.errors import PeerViolation
from cluster.core.keys import NO_STREAM, StreamKey, split_query
from cluster.core.rtmp.url import RtmpUrl, UrlError
from cluster.process.options import ConfigError

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

    from cluster.edge.admission.signed import Signing
    from cluster.edge.peers.access import Action

_UNITS: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400}
_TIME: Final = re.compile(r"(?P<number>[0-9]{1,9}(\.[0-9]{1,9})?)(?P<unit>s|m|min|h|d|)")
#: Items of the query of our own scheme (``edge.admission.signed``): an old "ip" is not for a new "sig".
_SIGNATURE, _BOUND = "sig", "ip"
#: As long as anybody will remember what the link was for.
_LONGEST_S: Final = 10 * 366 * 86_400


def _length(ctx: click.Context, param: click.Parameter, text: str) -> float:
    """A click callback: seconds."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise click.BadParameter(f"{text!r} is no length of time, as 90s, 30m, 12h and 7d are", ctx, param)
    length_s = float(match["number"]) * _UNITS[match["unit"]]
    if not 1 <= length_s <= _LONGEST_S:
        raise click.BadParameter(f"{text!r} is not from a second to ten years", ctx, param)
    return length_s


def _address(
    ctx: click.Context, param: click.Parameter, text: str | None
) -> IPv4Address | IPv6Address | None:
    """A click callback: the address as it is signed."""
    if text is None:
        return None
    from cluster.edge.admission.signed import normal

    if (address := normal(text)) is None:
        raise click.BadParameter(f"{text!r} is no numeric address, as 192.0.2.7 is", ctx, param)
    return address


@click.command()
@click.argument("address", metavar="ADDRESS")
@click.option("--play", is_flag=True, help="Who has the link may play.")
@click.option("--publish", is_flag=True, help="Who has the link may publish.")
@click.option("--expires", callback=_length, metavar="TIME", required=True,
              help="How long it is good: 90s, 30m, 12h, 7d.")
@click.option("--ip", callback=_address, metavar="IP", help="It is good from this address alone.")
@click.option("--config", "config_file", metavar="FILE", type=click.Path(path_type=Path), required=True,
              help="The edge's configuration file, which has the secret in [signing].")
def sign(
    address: str, play: bool, publish: bool, expires: float, ip: IPv4Address | IPv6Address | None,
    config_file: Path,
) -> None:  # fmt: skip
    """Print ADDRESS, of RTMP or HTTP, with what lets who has it in until it expires."""
    if play == publish:
        raise click.UsageError("one of --play and --publish is needed")
    action: Action = "play" if play else "publish"
    key = _key_of(address, action)
    signing = _signing(config_file, action, key)
    if signing.must_bind and ip is None:
        raise click.UsageError(f"--ip is needed: what is signed by {config_file} has the address in it")
    try:
        query = signing.query(action, key, int(time.time() + expires), ip)
    except ValueError as error:
        raise click.UsageError(f"--ip: {error}") from None
    click.echo(_with_query(address, query))


def _key_of(address: str, action: Action) -> str:
    """The stream key that the address means; a usage error if it is none that could be signed."""
    scheme = address.partition("://")[0].lower()
    try:
        if scheme in ("http", "https"):
            key = _key_of_http(address)
        else:
            url = RtmpUrl.parse(address)
            key = StreamKey.parse(url.app, url.stream)
    except (UrlError, PeerViolation) as error:
        text = error.detail if isinstance(error, PeerViolation) else str(error)
        raise click.UsageError(f"ADDRESS: {text}") from None
    if scheme in ("http", "https") and action == "publish":
        raise click.UsageError("--publish: nobody publishes over HTTP here; sign one of rtmp or rtmps")
    return key


def _key_of_http(address: str) -> str:
    from cluster.edge.http.routes import NoRoute, route_of

    try:
        parts = urlsplit(address)
        if not parts.hostname:
            raise UrlError("it has no host: expected http://HOST/APP/NAME.m3u8, .flv or .mp4")
        key = route_of(unquote(parts.path, errors="strict")).key
    except UnicodeDecodeError:
        raise UrlError("its path is not UTF-8") from None
    except (NoRoute, ValueError) as error:
        raise UrlError(str(error)) from None
    if parts.fragment:
        raise UrlError("what is behind # is not sent to the server: leave it out")
    if not key:
        raise UrlError(NO_STREAM.replace("rtmp://HOST/APP/NAME", "http://HOST/APP/NAME.m3u8, .flv or .mp4"))
    return key


def _with_query(address: str, signed: str) -> str:
    """``address`` with these items in the query of its last part: of RTMP, the app may have one of its own
    before the name. What it was signed with before is left out: what stands twice lets nobody in."""
    last = address
    if not address.lower().startswith("http"):
        url = RtmpUrl.parse(address)
        last = url.stream or url.app
    if "?" not in last:
        return f"{address}?{signed}"
    query = split_query(last)[1]
    names = {item.partition("=")[0] for item in signed.split("&")}
    if _SIGNATURE in names:
        names.add(_BOUND)
    kept = [item for item in query.split("&") if item and item.partition("=")[0] not in names]
    return address.removesuffix(query) + "&".join([*kept, signed])


def _signing(path: Path, action: Action, key: str) -> Signing:
    """What signs by the file, with the secret. Who would be let in without it is told so."""
    from cluster.commands.policy_tables import parsed_with_lines, policy_tables
    from cluster.edge.admission.policy import resolve_files
    from cluster.process import config_file

    file = config_file.read(path, FILE_OPTIONS, FILE_TABLES)
    file.check()
    # Those of the other tables need not be readable here, and are not needed.
    own = resolve_files({name: table for name, table in file.tables.items() if name == "signing"})
    policy = parsed_with_lines(policy_tables(file.values, {**file.tables, **own}), file)
    if policy.signing is None:
        raise ConfigError(f"{path} has no [signing]: write [signing] and secrets = [...] into it")
    terms = policy.rules.terms(action, key)
    if terms is None or not terms.signed:
        click.echo(f"no rule of {path} asks who wants to {action} {key} for a signed address", err=True)
    return policy.signing
