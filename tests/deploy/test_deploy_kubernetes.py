"""The manifests against Kubernetes' own schemas, and what they say of each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cluster.edge.node.config import OPTIONS
from cluster.router.config import OPTIONS as ROUTER_OPTIONS

yaml = pytest.importorskip("yaml", reason="the manifests need PyYAML: pip install 'rtmp-cluster[test]'")

MANIFESTS = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
#: The oldest whose API the manifests are meant for, and a late one.
_VERSIONS = ("1.27", "1.33")


def _documents() -> list[dict[str, Any]]:
    kustomization = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())
    return [
        document
        for name in kustomization["resources"]
        for document in yaml.safe_load_all((MANIFESTS / name).read_text())
    ]


def _named(kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in _documents() if (each["kind"], each["metadata"]["name"]) == (kind, name)]
    return found


def test_kustomize_lists_every_manifest() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml"]) == sorted(path.name for path in MANIFESTS.glob("*.yaml"))


@pytest.mark.parametrize("version", _VERSIONS)
def test_every_manifest_is_as_its_schema_says(version: str) -> None:
    reason = "the schemas need kubernetes-validate: pip install 'rtmp-cluster[test]'"
    validate = pytest.importorskip("kubernetes_validate", reason=reason)
    for document in _documents():
        validate.validate(document, version, strict=True)
    wrong = _named("Deployment", "rtmp-cluster-edge")
    wrong["spec"]["replicaz"] = 2
    with pytest.raises(validate.ValidationError):
        validate.validate(wrong, version, strict=True)


def _pod(kind: str, name: str) -> dict[str, Any]:
    pod: dict[str, Any] = _named(kind, name)["spec"]["template"]["spec"]
    return pod


def _variables(kind: str = "Deployment", name: str = "rtmp-cluster-edge") -> dict[str, Any]:
    (container,) = _pod(kind, name)["containers"]
    return {each["name"]: each.get("value") for each in container["env"]}


def test_an_edge_has_time_to_drain() -> None:
    pod = _pod("Deployment", "rtmp-cluster-edge")
    before = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    drain = float(_variables()["RTMP_CLUSTER_DRAIN_TIMEOUT"])
    assert pod["terminationGracePeriodSeconds"] > before + drain + 5


def test_edges_know_every_router() -> None:
    routers = _named("StatefulSet", "rtmp-cluster-router")
    service = _named("Service", routers["spec"]["serviceName"])
    assert service["spec"]["clusterIP"] == "None"
    expected = [
        f"tcp://{routers['metadata']['name']}-{number}.{service['metadata']['name']}:1936"
        for number in range(routers["spec"]["replicas"])
    ]
    assert _variables()["RTMP_CLUSTER_ROUTER"].split() == expected


def test_variables_are_options_that_exist_and_take_these_values() -> None:
    options = {option.env: option for option in (*OPTIONS.values(), *ROUTER_OPTIONS.values())}
    for variables in (_variables(), _variables("StatefulSet", "rtmp-cluster-router")):
        for name, value in variables.items():
            for text in () if value is None else value.split():
                options[name].parse(text)


@pytest.mark.parametrize(
    ("kind", "name", "prefix"),
    [
        ("StatefulSet", "rtmp-cluster-router", "RTMP_CLUSTER_ROUTER_"),
        ("Deployment", "rtmp-cluster-edge", "RTMP_CLUSTER_"),
    ],
)
def test_health_is_asked_for_where_the_api_is(kind: str, name: str, prefix: str) -> None:
    (container,) = _pod(kind, name)["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    variables = _variables(kind, name)
    assert variables[f"{prefix}API"] == f":{ports['api']}"
    assert variables[f"{prefix}METRICS"] == f":{ports['metrics']}"
    for probe, path in (
        ("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")
    ):  # fmt: skip
        assert container[probe]["httpGet"] == {"path": path, "port": "api"}


def test_players_reach_an_edge_over_rtmp_and_http() -> None:
    (container,) = _pod("Deployment", "rtmp-cluster-edge")["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    service = _named("Service", "rtmp-cluster-edge")
    offered = {each["targetPort"]: each["port"] for each in service["spec"]["ports"]}
    assert offered == {name: ports[name] for name in ("rtmp", "http")}
    assert _variables()["RTMP_CLUSTER_HTTP"] == f":{ports['http']}"


@pytest.mark.parametrize("name", ["rtmp-cluster-router", "rtmp-cluster-edge"])
def test_selectors_find_the_pods(name: str) -> None:
    (workload,) = [
        each for each in _documents()
        if each["kind"] in ("Deployment", "StatefulSet") and each["metadata"]["name"] == name
    ]  # fmt: skip
    labels = workload["spec"]["template"]["metadata"]["labels"]
    assert workload["spec"]["selector"]["matchLabels"] == labels
    assert _named("Service", name)["spec"]["selector"] == labels
    assert _named("PodDisruptionBudget", name)["spec"]["selector"]["matchLabels"] == labels
    spread = workload["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [each["labelSelector"]["matchLabels"] for each in spread] == [labels]
