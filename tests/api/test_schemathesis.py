"""The OpenAPI document against a running cluster: whatever it allows is answered as it says, and nothing
else is let through (schemathesis)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.api_cluster import ApiCluster, ask
from support.ffmpeg import Ffmpegs
from support.polling import wait_until

#: Examples of each operation.
EXAMPLES = os.environ.get("API_EXAMPLES", "25")


def check(url: str, directory: Path, *options: str) -> None:
    """AssertionError with its report if schemathesis finds a failure."""
    document = directory / "openapi.json"
    document.write_text(ask(url, "/v1/openapi.json", **_headers(options)).text)
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", str(document), "--url", url,
        "--max-examples", EXAMPLES, "--no-color", "--request-timeout", "10",
        "--suppress-health-check", "filter_too_much,too_slow", "--generation-deterministic", *options,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr


def _headers(options: tuple[str, ...]) -> dict[str, str]:
    return dict(each.split(": ", 1) for each in options if each.startswith("Authorization: "))


@pytest.mark.interop
def test_the_document_is_kept_to(
    cluster: ApiCluster, ffmpegs: Ffmpegs, clip: Path, tmp_path: Path
) -> None:
    ffmpegs.publish(clip, cluster.nodes["a"].url("schema"), loop=True)
    url = cluster.apis["b"]
    wait_until(lambda: ask(url, "/v1/streams/live%2Fschema").status == 200, "a stream")
    check(url, tmp_path)
    assert "Traceback" not in cluster.nodes["b"].log_text()


@pytest.mark.parametrize("path", ["/v1/streams", "/v1/sessions", "/v1/nodes"])
def test_what_a_live_list_says_has_the_form_of_the_document(cluster: ApiCluster, path: str) -> None:
    import jsonschema

    url = cluster.apis["c"]
    document = ask(url, "/v1/openapi.json").json
    schema = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    jsonschema.validate(ask(url, path).json, {**schema, "components": document["components"]})
