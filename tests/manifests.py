"""The Kubernetes manifests and the compose file as tests read them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from submit import ROOT

KUBERNETES = ROOT / "docker/kubernetes"
RENDERED = KUBERNETES / "rendered"
COMPOSE = ROOT / "docker/compose.yaml"
SCHEMAS = ROOT / "tests/schemas"
FLEETS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
PRODUCERS = sorted(path.name for path in (KUBERNETES / "producers").iterdir())
EVERY = [*FLEETS, *PRODUCERS]
OURS = "localhost/hugesync"  # the image

Labels = Mapping[str, str]


@cache
def rendered(name: str) -> tuple[dict[str, Any], ...]:
    """The objects of one overlay or producer, as they are checked in."""
    return tuple(yaml.safe_load_all((RENDERED / f"{name}.yaml").read_text()))


@cache
def compose() -> dict[str, Any]:
    return yaml.safe_load(COMPOSE.read_text())


@dataclass(frozen=True)
class Workload:
    """What makes pods. ``overlay``: where it was rendered."""

    overlay: str
    object: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"{self.overlay}: {self.object['kind']} {self.object['metadata']['name']}"

    @property
    def template(self) -> Mapping[str, Any]:
        spec = self.object["spec"]
        return spec["jobTemplate"]["spec"]["template"] if "jobTemplate" in spec else spec["template"]

    @property
    def pod(self) -> Mapping[str, Any]:
        return self.template["spec"]

    @property
    def labels(self) -> Labels:
        return self.template["metadata"]["labels"]

    @property
    def component(self) -> str:
        return self.labels["app.kubernetes.io/component"]

    @property
    def container(self) -> Mapping[str, Any]:
        (one,) = self.pod["containers"]
        return one

    @property
    def ours(self) -> bool:
        return self.container["image"] == OURS

    def env(self, name: str) -> str | None:
        """The literal value of one variable; None where there is none."""
        return next((e.get("value") for e in self.container.get("env", []) if e["name"] == name), None)

    @property
    def ports(self) -> dict[str, int]:
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}


def workloads(overlay: str) -> list[Workload]:
    return [Workload(overlay, one) for one in rendered(overlay) if one["kind"] in KINDS]


KINDS = ("Deployment", "StatefulSet", "Job", "CronJob")
ALL = [workload for overlay in EVERY for workload in workloads(overlay)]


def of_kind(overlay: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in rendered(overlay) if one["kind"] == kind]


def picks(selector: Mapping[str, Any], labels: Labels) -> bool:
    """Whether a label selector picks these labels; an empty one picks all."""
    for key, value in selector.get("matchLabels", {}).items():
        if labels.get(key) != value:
            return False
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In", "no other is used here"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def anywhere(node: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, however deep."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield str(key), value
            yield from anywhere(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from anywhere(value)


def texts(node: Any) -> Iterator[str]:
    """Every string, however deep."""
    if isinstance(node, str):
        yield node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from texts(key)
            yield from texts(value)
    elif isinstance(node, list | tuple):
        for value in node:
            yield from texts(value)


def quantity(text: str) -> int:
    """``3Gi``, ``512mb`` or ``1024`` in bytes."""
    found = re.fullmatch(r"(\d+)(Ki|Mi|Gi|kb|mb|gb)?", text)
    assert found, text
    power = {"k": 1, "m": 2, "g": 3}[found[2][0].lower()] if found[2] else 0
    return int(found[1]) * 1024**power


def seconds(text: str) -> float:
    """A duration of compose."""
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text)
    assert found, text
    return int(found[1] or 0) * 60 + int(found[2] or 0)


def keys_of_ours() -> set[str]:
    """Every HUGESYNC_* variable that a manifest or the compose file sets, names or refers to."""
    sources = [*KUBERNETES.rglob("*.yaml"), COMPOSE, Path(ROOT / "docker/secrets.sh")]
    return {key for path in sources for key in re.findall(r"\bHUGESYNC_[A-Z0-9_]*[A-Z0-9]\b", path.read_text())}
