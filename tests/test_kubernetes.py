"""docker/kubernetes: what is checked in is what the API takes, and its parts fit together and fit the code."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import kubernetes_validate
import pytest
import yaml

from hugesync_producer.pool import LEAST_OUT, PER_SLOT
from hugesync_tasks.config_model import ENV_PREFIX, Settings
from hugesync_tasks.config_units import parse_duration, parse_size
from hugesync_worker.__main__ import main as worker_command
from manifests import (
    ALL,
    COMPOSE,
    EVERY,
    FLEETS,
    KUBERNETES,
    PRODUCERS,
    RENDERED,
    SCHEMAS,
    Workload,
    anywhere,
    keys_of_ours,
    of_kind,
    picks,
    quantity,
    rendered,
    texts,
    workloads,
)
from submit import ROOT

OLDEST = "1.29"  # of Kubernetes; docs/operations.md names it
SCRIPTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
NEWEST = kubernetes_validate.latest_version()
GUIDE = (ROOT / "docs/operations.md").read_text()

every = pytest.mark.parametrize("overlay", EVERY)
each = pytest.mark.parametrize("workload", ALL, ids=lambda w: w.name)
ours = pytest.mark.parametrize("workload", [w for w in ALL if w.ours], ids=lambda w: w.name)
workers = pytest.mark.parametrize("workload", [w for w in ALL if w.component == "worker"], ids=lambda w: w.name)


# --- what is checked in -----------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_every_object_is_one_that_the_api_takes_without_a_field_too_many(overlay: str, version: str) -> None:
    known = [one for one in rendered(overlay) if one["kind"] != "ScaledObject"]
    assert known
    for one in known:
        kubernetes_validate.validate(one, version, strict=True)


def test_the_judge_refuses_a_field_that_does_not_exist() -> None:
    (budget,) = of_kind("fleet", "PodDisruptionBudget")
    wrong = {**budget, "spec": {**budget["spec"], "maxUnavailabel": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, NEWEST, strict=True)


def test_a_scaled_object_is_what_keda_documents() -> None:
    schema = json.loads((SCHEMAS / "scaledobject.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    scaled = [one for overlay in EVERY for one in of_kind(overlay, "ScaledObject")]
    assert len(scaled) == 2
    for one in scaled:
        jsonschema.validate(one, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**scaled[0], "spec": {**scaled[0]["spec"], "minReplicas": 0}}, schema)


@pytest.mark.system
def test_what_is_checked_in_is_what_kubectl_renders(tmp_path: Path) -> None:
    subprocess.run([str(KUBERNETES / "render.sh"), str(tmp_path)], check=True, timeout=120)
    fresh = {path.name: path.read_text() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_text() for path in RENDERED.iterdir()}
    assert set(fresh) == set(kept) == {f"{name}.yaml" for name in EVERY}
    assert [name for name in fresh if fresh[name] != kept[name]] == [], "docker/kubernetes/render.sh writes them anew"


def test_what_the_guide_writes_beside_them_is_taken_by_the_api_too() -> None:
    own = [one for one in blocks(GUIDE) if one["kind"] != "Kustomization"]
    assert {one["kind"] for one in own} == {"PersistentVolumeClaim", "NetworkPolicy"}
    for one in own:
        kubernetes_validate.validate(one, NEWEST, strict=True)


@pytest.mark.system
def test_the_kustomizations_of_the_guide_render_with_the_persons_image_everywhere(tmp_path: Path) -> None:
    tree = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, tree)
    written = re.findall(
        r"`docker/kubernetes/(mine[a-z-]*)/kustomization.yaml`:\n\n```yaml\n(.*?)```", GUIDE, re.DOTALL
    )
    assert [name for name, _ in written] == ["mine", "mine-nightly"]
    for name, text in written:
        (tree / name).mkdir()
        (tree / name / "kustomization.yaml").write_text(text)
        out = subprocess.run(["kubectl", "kustomize", str(tree / name)], capture_output=True, text=True, check=True)
        images = set(re.findall(r"image: (\S+)", out.stdout)) - {"docker.io/valkey/valkey:9-alpine"}
        assert images == {"registry.example/team/hugesync:1"}


@pytest.mark.system
def test_any_components_can_be_put_together(tmp_path: Path) -> None:
    tree = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, tree)
    (tree / "mine").mkdir()
    parts = ["redis", "keda", "flower", "shared-folder"]
    (tree / "mine/kustomization.yaml").write_text(
        "resources: [../base]\nnamespace: hugesync\ncomponents: ["
        + ", ".join(f"../components/{part}" for part in parts)
        + "]\n"
    )
    out = subprocess.run(["kubectl", "kustomize", str(tree / "mine")], capture_output=True, text=True, check=True)
    for one in yaml.safe_load_all(out.stdout):
        if one["kind"] != "ScaledObject":
            kubernetes_validate.validate(one, NEWEST, strict=True)
    for sign in ("--task-events", "data=/data", "kind: ScaledObject", "hugesync-flower"):
        assert sign in out.stdout


# --- the code's own words ---------------------------------------------------------------------------------------------


def test_every_key_of_ours_in_manifests_and_compose_is_one_that_the_code_knows() -> None:
    known = {f"{ENV_PREFIX}{key.upper()}" for key in Settings.model_fields}
    used = keys_of_ours()
    assert {"HUGESYNC_BROKER_URL", "HUGESYNC_MEMORY", "HUGESYNC_START_TIMEOUT"} <= used
    assert used - known == set()


@every
def test_the_values_of_our_keys_are_ones_that_the_code_takes(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {k: v for one in of_kind("fleet", "ConfigMap") for k, v in one["data"].items()}
    for workload in workloads(overlay):
        env = {e["name"]: e["value"] for e in workload.container.get("env", []) if "value" in e}
        for key, value in {**settings, **env}.items():
            if key.startswith(ENV_PREFIX):
                monkeypatch.setenv(key, value)
        Settings()


@ours
def test_what_a_container_runs_is_a_command_of_the_package_with_options_that_it_has(workload: Workload) -> None:
    command, *args = workload.container["args"]
    assert command in {*SCRIPTS, "celery"}
    if command == "hugesync-worker":
        known = {name for option in worker_command.params for name in option.opts}
        assert {arg for arg in args if arg.startswith("-")} <= known


@each
def test_kubernetes_adds_no_variable_that_the_code_would_refuse_as_an_unknown_key(workload: Workload) -> None:
    """For a Service hugesync-exporter it would add HUGESYNC_EXPORTER_SERVICE_HOST to every pod of the namespace."""
    assert workload.pod["enableServiceLinks"] is False


# --- names that fit together ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", FLEETS)
def test_every_selector_picks_its_own_pods_and_no_other_pool_s(overlay: str) -> None:
    pods = workloads(overlay)
    for one in pods:
        selector = one.object["spec"]["selector"]
        assert [other.name for other in pods if picks(selector, other.labels)] == [one.name]
        for spread in one.pod.get("topologySpreadConstraints", []):
            assert [other.name for other in pods if picks(spread["labelSelector"], other.labels)] == [one.name]
    for budget in of_kind(overlay, "PodDisruptionBudget"):
        assert len([p for p in pods if picks(budget["spec"]["selector"], p.labels)]) == 1
    for service in of_kind(overlay, "Service"):
        behind = [p for p in pods if picks({"matchLabels": service["spec"]["selector"]}, p.labels)]
        assert behind, service["metadata"]["name"]
        for port in service["spec"]["ports"]:
            assert all(port["targetPort"] in p.ports for p in behind)
            assert all(port["port"] == p.ports[port["targetPort"]] for p in behind)
    for policy in of_kind(overlay, "NetworkPolicy"):
        picked = [p for p in pods if picks(policy["spec"]["podSelector"], p.labels)]
        assert picked, policy["metadata"]["name"]
        named = {port["port"] for rule in policy["spec"].get("ingress", []) for port in rule["ports"]}
        assert all(named <= set(p.ports) for p in picked)


def referenced(workload: Workload) -> Iterator[tuple[str, str]]:
    pod = workload.pod
    yield "ServiceAccount", pod["serviceAccountName"]
    for key, value in anywhere(pod):
        if key in ("configMapRef", "configMapKeyRef"):
            yield "ConfigMap", value["name"]
        elif key in ("secretRef", "secretKeyRef"):
            yield "Secret", value["name"]
        elif key == "secretName":
            yield "Secret", value
        elif key == "claimName":
            yield "PersistentVolumeClaim", value
        elif key == "configMap":
            yield "ConfigMap", value["name"]


def blocks(page: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]


def made_by_hand() -> set[tuple[str, str]]:
    """What docs/operations.md makes, or tells how."""
    made = {("Secret", name) for name in re.findall(r"create secret generic ([a-z-]+)", GUIDE)}
    return made | {(one["kind"], one["metadata"]["name"]) for one in blocks(GUIDE) if "metadata" in one}


@every
def test_everything_that_a_pod_refers_to_is_rendered_or_made_by_a_command_of_the_guide(overlay: str) -> None:
    there = {(one["kind"], one["metadata"]["name"]) for one in (*rendered(overlay), *rendered("fleet"))}
    wanted = {pair for workload in workloads(overlay) for pair in referenced(workload)}
    assert wanted - there - made_by_hand() == set()
    assert {name for kind, name in there if kind == "Secret"} == set(), "secrets are made by hand, and nowhere kept"


@every
def test_volumes_that_are_mounted_are_there_and_the_other_way_round(overlay: str) -> None:
    for workload in workloads(overlay):
        claims = [claim["metadata"]["name"] for claim in workload.object["spec"].get("volumeClaimTemplates", [])]
        mounted = {mount["name"] for mount in workload.container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in workload.pod["volumes"]} | set(claims)


@every
def test_everything_is_in_the_one_namespace(overlay: str) -> None:
    for one in rendered(overlay):
        assert one["metadata"].get("namespace", "hugesync" if one["kind"] == "Namespace" else None) == "hugesync"


@each
def test_probes_ask_ports_that_the_container_has(workload: Workload) -> None:
    probes = [
        workload.container[p] for p in ("startupProbe", "livenessProbe", "readinessProbe") if p in workload.container
    ]
    assert len(probes) == (0 if workload.component == "producer" else 3)
    for probe in probes:
        asked = probe.get("httpGet") or probe.get("tcpSocket")
        assert asked is None or asked["port"] in workload.ports
        if asked is not None and "path" in asked:
            assert asked["path"] in ("/livez", "/readyz", "/consuming", "/healthcheck")
    if workload.component == "worker":
        assert workload.container["readinessProbe"]["httpGet"]["path"] == "/consuming"
        assert workload.object["spec"]["minReadySeconds"] > 30, "else a rollout does not wait for the first canary"
        assert workload.container["livenessProbe"]["httpGet"]["path"] == "/livez", "it must not end for its Redis"
    if "metrics" in workload.ports:
        assert workload.env("HUGESYNC_METRICS_PORT") == str(workload.ports["metrics"])
        assert workload.env("HUGESYNC_METRICS_HOST") == "0.0.0.0"


# --- numbers that fit together ----------------------------------------------------------------------------------------


@workers
def test_the_grace_period_holds_what_comes_before_the_drain_the_drain_and_the_giving_back(workload: Workload) -> None:
    hook = workload.container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", ["sleep", "0"])
    assert hook[0] == "sleep"
    drain = parse_duration(workload.env("HUGESYNC_DRAIN_TIMEOUT"))
    assert workload.pod["terminationGracePeriodSeconds"] > int(hook[1]) + drain + 10


@workers
def test_the_memory_of_a_worker_s_pod_holds_all_its_children_and_what_is_beside_them(workload: Workload) -> None:
    """Nine tenths of it, less 160 MiB, are the children's; a coordinator that it starts and the exporter come on top."""
    limit = quantity(workload.container["resources"]["limits"]["memory"])
    slots, memory = int(workload.env("HUGESYNC_WORKER_CONCURRENCY") or 0), parse_size(workload.env("HUGESYNC_MEMORY"))
    assert slots > 0
    assert 0.9 * limit - (160 << 20) >= slots * memory + (256 << 20)
    assert workload.container["resources"]["requests"]["memory"] == workload.container["resources"]["limits"]["memory"]


@each
def test_every_container_asks_for_what_it_needs_and_is_bounded_in_memory(workload: Workload) -> None:
    resources = workload.container["resources"]
    assert {"cpu", "memory"} <= set(resources["requests"])
    assert quantity(resources["requests"]["memory"]) <= quantity(resources["limits"]["memory"])
    for volume in workload.pod["volumes"]:
        if "emptyDir" in volume:
            bound = resources["limits"].get("ephemeral-storage")
            assert quantity(volume["emptyDir"]["sizeLimit"]) < (quantity(bound) if bound else 1 << 30)


@pytest.mark.parametrize("overlay", [o for o in FLEETS if of_kind(o, "ScaledObject")])
def test_the_fleet_grows_with_unsettled_work_from_nothing_and_its_number_is_nobody_else_s(overlay: str) -> None:
    (scaled,) = of_kind(overlay, "ScaledObject")
    spec = scaled["spec"]
    (target,) = [w for w in workloads(overlay) if w.object["metadata"]["name"] == spec["scaleTargetRef"]["name"]]
    assert target.component == "worker"
    assert "replicas" not in target.object["spec"], "each apply would set it back"
    assert spec["minReplicaCount"] == 0
    (trigger,) = spec["triggers"]
    asked = urlsplit(trigger["metadata"]["url"])
    (service,) = [s for s in of_kind(overlay, "Service") if asked.hostname == f"{s['metadata']['name']}.hugesync.svc"]
    assert asked.port in [port["port"] for port in service["spec"]["ports"]]
    assert service["spec"]["selector"]["app.kubernetes.io/component"] == "exporter"
    assert (asked.path, trigger["metadata"]["valueLocation"]) == ("/work", "unsettled")
    slots = int(target.env("HUGESYNC_WORKER_CONCURRENCY") or 0)
    assert float(trigger["metadata"]["targetValue"]) * 2 <= PER_SLOT * slots, (
        "else a full window asks for no more workers"
    )
    assert float(trigger["metadata"]["activationTargetValue"]) < LEAST_OUT


def test_a_producer_waits_longer_for_the_first_worker_than_a_pod_takes_to_come() -> None:
    (settings,) = of_kind("autoscaled", "ConfigMap")
    (scaled,) = of_kind("autoscaled", "ScaledObject")
    assert parse_duration(settings["data"]["HUGESYNC_START_TIMEOUT"]) >= scaled["spec"]["pollingInterval"] + 300


# --- safety -----------------------------------------------------------------------------------------------------------


@each
def test_every_pod_fulfils_the_restricted_standard_and_has_no_token_of_the_api(workload: Workload) -> None:
    pod, container = workload.pod, workload.container
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
    }  # fmt: skip
    assert pod["automountServiceAccountToken"] is False
    assert {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod) == set()
    assert not any("hostPath" in volume for volume in pod["volumes"])


@pytest.mark.parametrize("overlay", FLEETS)
def test_nothing_is_let_through_but_what_the_parts_need_of_each_other(overlay: str) -> None:
    policies = [p["spec"] for p in of_kind(overlay, "NetworkPolicy")]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    by_name = {p["metadata"]["name"]: p["spec"] for p in of_kind(overlay, "NetworkPolicy")}
    of_producer = [w for o in PRODUCERS for w in workloads(o)]
    for workload in (*workloads(overlay), *of_producer):
        uses_broker = any(kind == "Secret" and name == "hugesync-broker" for kind, name in referenced(workload))
        uses_stores = any(kind == "Secret" and name == "hugesync-stores" for kind, name in referenced(workload))
        assert picks(by_name["hugesync-to-redis"]["podSelector"], workload.labels) is uses_broker
        assert picks(by_name["hugesync-stores"]["podSelector"], workload.labels) is uses_stores
        if "hugesync-redis" in by_name:
            (rule,) = by_name["hugesync-redis"]["ingress"]
            assert any(picks(peer["podSelector"], workload.labels) for peer in rule["from"]) is uses_broker


@pytest.mark.parametrize("overlay", [o for o in FLEETS if of_kind(o, "StatefulSet")])
def test_the_redis_keeps_what_it_was_told_and_lets_in_only_its_users(overlay: str) -> None:
    (redis,) = [w for w in workloads(overlay) if w.component == "redis"]
    args = redis.container["args"]
    said = dict(zip(args[::2], args[1::2], strict=True))
    assert said["--appendonly"] == "yes"
    assert said["--maxmemory-policy"] == "noeviction"
    assert 2 * quantity(said["--maxmemory"]) <= quantity(redis.container["resources"]["limits"]["memory"])
    (mount,) = [m for m in redis.container["volumeMounts"] if said["--aclfile"].startswith(m["mountPath"] + "/")]
    (volume,) = [v for v in redis.pod["volumes"] if v["name"] == mount["name"]]
    assert volume["secret"]["secretName"] == "hugesync-redis"
    assert "optional" not in volume["secret"]


SECRET_NAMES = re.compile(r"PASSWORD|SECRET|TOKEN|AUTH|_KEY|CONNECTION_STRING|BROKER_URL|STATE_URL|SAS")
IN_A_URL = re.compile(r"://[^/\s@]*:[^/\s@]*@")


@every
def test_no_secret_stands_in_a_manifest(overlay: str) -> None:
    assert of_kind(overlay, "Secret") == []
    for key, value in anywhere(rendered(overlay)):
        if key == "env":
            for variable in value:
                if SECRET_NAMES.search(variable["name"]):
                    assert set(variable) == {"name", "valueFrom"}, variable["name"]
                    assert set(variable["valueFrom"]) == {"secretKeyRef"}
        if key == "data":
            assert not [name for name in value if SECRET_NAMES.search(name)]
    assert not [text for text in texts(rendered(overlay)) if IN_A_URL.search(text)]


def test_no_secret_stands_in_the_files_that_they_are_rendered_from() -> None:
    sources = [path for path in (*KUBERNETES.rglob("*"), COMPOSE) if path.is_file()]
    assert len(sources) > 30
    for path in sources:
        assert not IN_A_URL.search(path.read_text()), path
        assert "secretGenerator" not in path.read_text(), path


# --- the one that produces --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("overlay", PRODUCERS)
def test_a_producer_is_tried_again_where_that_may_help_and_nowhere_else(overlay: str) -> None:
    """Exit codes: README, "What a script sees". 5 (unreachable, stalled) and 130 (interrupted) go on where they stopped."""
    (producer,) = workloads(overlay)
    spec: Any = producer.object["spec"]
    job = spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec
    ignored, failing = job["podFailurePolicy"]["rules"]
    assert ignored["action"] == "Ignore"
    assert (failing["action"], failing["onExitCodes"]["values"]) == ("FailJob", [1, 2, 3, 4])
    assert failing["onExitCodes"]["containerName"] == producer.container["name"]
    assert producer.pod["restartPolicy"] == "Never", "a podFailurePolicy needs it"
    if "jobTemplate" in spec:
        assert spec["concurrencyPolicy"] == "Forbid"
