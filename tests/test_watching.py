"""The files that people watch a fleet with: the page of metrics, the alerts, the dashboard; and a real Prometheus that takes them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from itertools import combinations
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import servers
from conftest import Bucket, missing
from hugesync_tasks import metric_docs
from hugesync_tasks.metric_names import METRICS
from manifests import SCHEMAS
from processes import Place, wait_until
from scrape import get
from test_exporter import EXPORTER, PART, start_worker

REPO = Path(__file__).parents[1]
RULES = REPO / "docker/prometheus/hugesync.rules.yml"
DASHBOARD: dict[str, Any] = json.loads((REPO / "docker/grafana/dashboards/hugesync.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]


def test_the_page_holds_the_table_of_the_code() -> None:
    text = (REPO / "docs/metrics.md").read_text()
    assert text == metric_docs.page(text), "run: make docs"
    assert all(f"| `{name}` |" in text for name in METRICS)
    with pytest.raises(ValueError):
        metric_docs.page("no place")


def test_each_alert_says_what_it_is_and_the_guide_says_what_to_do() -> None:
    guide = (REPO / "docs/operations.md").read_text()
    tests = (REPO / "docker/prometheus/hugesync.rules.test.yml").read_text()
    for alert in ALERTS:
        assert alert["labels"]["severity"] in ("info", "warning", "critical")
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]
        assert f"`{alert['alert']}`" in guide
        assert f'alertname="{alert["alert"]}",alertstate="firing"' in tests, "it is shown to fire"


def test_figures_of_the_whole_fleet_are_never_summed_over_those_who_tell_them() -> None:
    fleet = [m.name for m in METRICS.values() if m.where in ("ledger", "job")]
    for expression in [*EXPRESSIONS, *(alert["expr"] for alert in ALERTS)]:
        for name in fleet:
            for before in re.findall(rf"(\w+)\s*(?:by \([^)]*\))?\s*\([^()]*\b{name}\b", expression):
                assert before in ("max", "absent"), (name, expression)


def test_the_dashboard_has_only_what_grafana_reads_with_values_that_it_takes() -> None:
    schema = json.loads((SCHEMAS / "dashboard.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(DASHBOARD, schema)
    first = PANELS[0]
    for wrong in (
        {**first, "tragets": first["targets"]},
        {**first, "type": "single"},
        {**first, "targets": []},
        {**first, "gridPos": {**first["gridPos"], "w": 25}},
        {**first, "options": {**first["options"], "graphMode": "pie"}},
        {**first, "fieldConfig": {"defaults": {"unit": "furlongs"}, "overrides": []}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**DASHBOARD, "panels": [wrong]}, schema)


def test_the_dashboard_is_whole() -> None:
    assert DASHBOARD["uid"] == "hugesync-fleet"
    assert DASHBOARD["schemaVersion"] >= 36
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        assert panel["type"] in ("stat", "timeseries", "bargauge")
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        refs = [target["refId"] for target in panel["targets"]]
        assert refs == sorted(set(refs))
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
    for one, other in combinations([panel["gridPos"] for panel in DASHBOARD["panels"]], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart or above, "panels overlap"
    known = {variable["name"] for variable in DASHBOARD["templating"]["list"]} | {"__rate_interval", "__all"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD))) <= known


def test_what_compose_mounts_fits_together() -> None:
    config = yaml.safe_load((REPO / "docker/prometheus/prometheus.yml").read_text())
    assert config["rule_files"] == [f"/etc/prometheus/{RULES.name}"]
    provider = yaml.safe_load((REPO / "docker/grafana/provisioning/dashboards/hugesync.yml").read_text())["providers"][
        0
    ]
    assert provider["options"]["path"] == "/etc/grafana/dashboards"


# ---- with Debian's package prometheus


def found(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        missing("prometheus", RuntimeError(f"{program} is not on PATH (Debian: prometheus)"))
    return str(path)


@pytest.mark.system
def test_each_alert_fires_when_it_should_and_a_fleet_at_work_is_quiet(tmp_path: Path) -> None:
    promtool = found("promtool")
    for command in (["check", "rules", str(RULES)], ["test", "rules", str(RULES.with_name("hugesync.rules.test.yml"))]):
        done = subprocess.run([promtool, *command], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
    config = (
        (REPO / "docker/prometheus/prometheus.yml")
        .read_text()
        .replace("/etc/prometheus/hugesync.rules.yml", str(RULES))
    )
    (tmp_path / "prometheus.yml").write_text(config)
    done = subprocess.run(
        [promtool, "check", "config", str(tmp_path / "prometheus.yml")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def asked(port: int, expression: str, since: float) -> list[Any]:
    """The series of an expression from ``since`` until now."""
    query = {"query": expression, "start": str(since), "end": str(time.time()), "step": "1"}
    url = f"http://127.0.0.1:{port}/api/v1/query_range?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        result = json.load(answer)
    assert result["status"] == "success"
    return list(result["data"]["result"])


@pytest.mark.system
def test_a_real_prometheus_takes_every_expression(
    tmp_path: Path, broker: servers.ValkeyServer, s3_bucket: Bucket
) -> None:
    """A job runs under its eyes; afterwards each panel shows something, and no alert of a fleet that is well fires."""
    prometheus, (web, of_worker, of_fleet) = found("prometheus"), servers.free_ports(3)
    data = tmp_path / "data"
    data.mkdir()
    (data / "large").write_bytes(os.urandom(3 * PART))
    (data / "small").write_bytes(b"x")
    env = {**s3_bucket.env, "HUGESYNC_PART_SIZE": str(PART), "HUGESYNC_WORKER_ROOTS": f"data={data}"}
    place, since = Place(tmp_path / "place", env), time.time()
    targets = [f"127.0.0.1:{of_worker}", f"127.0.0.1:{of_fleet}"]
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "hugesync", "static_configs": [{"targets": targets}]}],
    }
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    try:
        start_worker(place, broker.url, data, of_worker, "-c", 2)
        place.start([*EXPORTER, "--broker", broker.url, "--metrics-port", str(of_fleet)])
        storage = ["--storage.tsdb.path", str(tmp_path / "tsdb"), "--web.listen-address", f"127.0.0.1:{web}"]
        place.start([prometheus, "--config.file", str(tmp_path / "prometheus.yml"), *storage])
        wait_until(lambda: get(web, "/-/ready")[0] == 200, 60, "Prometheus")
        wait_until(lambda: get(of_worker, "/consuming")[0] == 200, 60, "the worker")
        job = place.submit("--broker", broker.url, "--bwlimit", "2M", data, f"s3://{s3_bucket.bucket}/")
        assert job.finish().code == 0
        wait_until(lambda: asked(web, "hugesync_files_total{outcome='done'} == 2", since), 30, "the last scrape")
        for expression in EXPRESSIONS:
            plain = expression.replace("$__rate_interval", "10s").replace("$instance", ".*")
            assert asked(web, plain, since), f"no panel may be empty: {plain}"
        for alert in ALERTS:
            asked(web, alert["expr"], since)
        assert asked(web, "ALERTS{alertstate='firing'}", since) == []
    finally:
        place.end()
