"""How the page looks on a phone and on a desk, in light and in dark; the screenshots are kept."""

from __future__ import annotations

import pytest
from browser_cluster import Cluster, OpenPage, StartPublisher
from watching import shoot, wait_live, wait_moving, wait_words

pytestmark = pytest.mark.in_full

#: Narrower than a finger (WCAG 2.5.8 wants 24).
LEAST_TARGET_PX = 40


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1440, 900)])
def test_it_fits(
    cluster: Cluster, open_page: OpenPage, publish: StartPublisher, width: int, height: int, scheme: str
) -> None:
    publish(cluster.near.url("looks"))
    page = open_page(
        cluster.near.page_url("looks"), viewport={"width": width, "height": height}, color_scheme=scheme
    )
    wait_live(page)
    wait_moving(page)
    page.wait_for_function("() => /\\d/.test(document.getElementById('bitrate').textContent)")
    shoot(page, f"{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= LEAST_TARGET_PX, button.inner_text()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width


@pytest.mark.parametrize("width", [390, 1440])
def test_its_words_fit(cluster: Cluster, open_page: OpenPage, width: int) -> None:
    page = open_page(
        cluster.near.page_url("nobody-looks"), viewport={"width": width, "height": 844}, color_scheme="dark"
    )
    wait_words(page, "Nobody publishes")
    shoot(page, f"{width}-nobody")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
