"""What a path means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.core.keys import MAX_KEY_BYTES
from cluster.edge.http.routes import Kind, NoRoute, Route, route_of


@pytest.mark.parametrize(
    ("path", "route"),
    [
        ("/", Route(Kind.PAGE, "")),
        ("/live/test", Route(Kind.PAGE, "live/test")),
        ("/live/test/", Route(Kind.PAGE, "live/test")),
        ("/live/test.flv", Route(Kind.FLV, "live/test")),
        ("//live//test.flv", Route(Kind.FLV, "live/test")),
        ("/test.flv", Route(Kind.FLV, "test")),
        ("/live/a.b.mp4", Route(Kind.MP4, "live/a.b")),
        ("/live/test.flv.flv", Route(Kind.FLV, "live/test.flv")),
        ("/live/a b/ä.flv", Route(Kind.FLV, "live/a b/ä")),
        ("/live/test.m3u8", Route(Kind.HLS, "live/test")),
        ("/live/test/media.m3u8", Route(Kind.HLS, "live/test", "media.m3u8")),
        ("/live/test/102934.m4s", Route(Kind.HLS, "live/test", "102934.m4s")),
        ("/live/test/102934.7.m4s", Route(Kind.HLS, "live/test", "102934.7.m4s")),
        ("/live/test/0123456789abcdef.mp4", Route(Kind.HLS, "live/test", "0123456789abcdef.mp4")),
        ("/media.m3u8", Route(Kind.HLS, "media")),
        ("/live/test.m4s", Route(Kind.PAGE, "live/test.m4s")),
        ("/" + "k" * MAX_KEY_BYTES + ".flv", Route(Kind.FLV, "k" * MAX_KEY_BYTES)),
    ],
)
def test_paths(path: str, route: Route) -> None:
    assert route_of(path) == route


@pytest.mark.parametrize(
    "path",
    [
        "/.flv", "/live/.flv", "/live/.m3u8", "/live/../etc.flv", "/./live/a.flv", "/live/..",
        "/live/a\x00.flv", "/live/a\n", "/live/*.flv", "/" + "k" * (MAX_KEY_BYTES + 1) + ".flv",
    ],
)  # fmt: skip
def test_paths_that_mean_nothing(path: str) -> None:
    with pytest.raises(NoRoute):
        route_of(path)


@given(st.text(max_size=60))
def test_any_path_is_a_route_or_none(path: str) -> None:
    try:
        route = route_of("/" + path)
    except NoRoute:
        return
    assert not {"", ".", ".."} & set(route.key.split("/")) or not route.key
