"""docker/compose.yaml, the passwords that docker/secrets.sh makes for it and for Kubernetes, and what the image starts with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import subprocess
import tempfile
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import redis

import servers
from hugesync_tasks.celery import publishing
from hugesync_tasks.config_model import Settings
from hugesync_tasks.config_units import parse_duration
from manifests import OURS, SCHEMAS, compose, quantity, seconds, texts
from submit import ROOT

SERVICES: dict[str, Any] = compose()["services"]
MADE = {"users.acl", "broker.env", "flower.env", "grafana.env", "stores.env"}


def plain(text: str) -> str:
    """With every ${NAME:-default} replaced by its default."""
    return re.sub(r"\$\{[A-Z_]+(?::-([^}]*)|:\?[^}]*)\}", lambda m: m[1] or "", text)


# --- the file ---------------------------------------------------------------------------------------------------------


def test_the_compose_file_has_only_keys_that_exist_with_values_that_they_take() -> None:
    schema = json.loads((SCHEMAS / "compose.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(compose(), schema)
    service = {**SERVICES["worker"], "stop_grace_time": "1s"}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**compose(), "services": {"worker": service}}, schema)


def test_everything_that_the_issue_names_is_a_service_and_what_need_not_run_has_a_profile() -> None:
    profiles = {name: service.get("profiles", []) for name, service in SERVICES.items()}
    assert profiles == {
        "redis": [], "worker": [], "flower": ["flower"], "exporter": ["watch"], "prometheus": ["watch"],
        "grafana": ["watch"], "s3": ["try"],
    }  # fmt: skip
    for service in SERVICES.values():
        assert set(service.get("depends_on", [])) <= set(SERVICES)


def test_the_page_sets_every_profile_once_for_all_its_lines_so_that_down_ends_what_up_began() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    (set_once,) = re.findall(r"COMPOSE_PROFILES=(\S+)", page)
    assert set(set_once.split(",")) == {name for service in SERVICES.values() for name in service.get("profiles", [])}
    lines = re.findall(r"^    docker compose (.+)$", page, re.MULTILINE)
    assert {line.split()[0] for line in lines} == {"up", "run", "down"}, "no line chooses a file or profiles of its own"


def test_nothing_listens_outside_of_this_host_and_the_redis_not_even_there() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert set(published) == {"flower", "prometheus", "grafana", "s3"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_a_volume_a_file_of_ours_or_the_persons(name: str) -> None:
    for mount in SERVICES[name].get("volumes", []):
        source = plain(mount.removeprefix("${DATA:?the folder that the worker serves}")).rsplit(":/", 1)[0]
        if not source or source.startswith(":/") or source in compose()["volumes"]:
            continue
        folder, _, file = source.rpartition("/")
        assert (folder, file in MADE) == ("./secrets", True) or (ROOT / "docker" / source).exists(), mount
    for file in SERVICES[name].get("env_file", []):
        assert plain(file).removeprefix("./secrets/") in MADE


def test_no_password_stands_in_the_file() -> None:
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            assert not re.search(r"PASSWORD|SECRET|TOKEN|AUTH|BROKER_URL", key), (key, value)
    assert not [text for text in texts(compose()) if re.search(r"://[^/\s@]*:[^/\s@]*@", text)]


def test_our_services_run_commands_of_the_package() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    ours = [service for service in SERVICES.values() if plain(service["image"]) == OURS]
    assert len(ours) == 3
    for service in ours:
        assert service["command"][0] in {*scripts, "celery"}


def test_a_worker_has_the_time_to_drain_and_the_redis_keeps_what_it_was_told() -> None:
    worker = SERVICES["worker"]
    drain = parse_duration(worker["environment"]["HUGESYNC_DRAIN_TIMEOUT"])
    assert seconds(worker["stop_grace_period"]) > drain + 10
    command, *args = SERVICES["redis"]["command"]
    assert command == "valkey-server"
    said = dict(zip(args[::2], args[1::2], strict=True))
    assert said["--appendonly"] == "yes"
    assert said["--maxmemory-policy"] == "noeviction"
    assert quantity(plain(said["--maxmemory"])) > 0
    assert said["--aclfile"] in {plain(mount).split(":")[1] for mount in SERVICES["redis"]["volumes"]}


# --- the passwords ----------------------------------------------------------------------------------------------------


def make(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "docker/secrets.sh"), str(folder)],
        capture_output=True, text=True, timeout=60, check=False, env={**os.environ, **env},
    )  # fmt: skip


def variables(folder: Path, file: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (folder / file).read_text().splitlines())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docker") / "secrets"
    done = make(folder, REDIS_UID=str(os.getuid()), REDIS_HOST="redis.example")
    assert done.returncode == 0, done.stderr
    return folder


def password(folder: Path) -> str:
    found = re.fullmatch(
        r"redis://hugesync:([0-9a-f]{48})@redis\.example:6379/0", variables(folder, "broker.env")["HUGESYNC_BROKER_URL"]
    )
    assert found
    return found[1]


def test_the_passwords_are_made_once_for_their_owner_alone(made: Path, tmp_path: Path) -> None:
    assert {path.name for path in made.iterdir()} == MADE
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in made.iterdir() if p.suffix == ".env")
    before = {path.name: path.read_text() for path in made.iterdir()}
    again = make(made)
    assert again.returncode == 1
    assert "stays as it is" in again.stderr
    assert {path.name: path.read_text() for path in made.iterdir()} == before
    assert make(tmp_path / "other").returncode == 0
    assert not {*before.values()} & {path.read_text() for path in (tmp_path / "other").iterdir()}


def test_nothing_that_is_made_is_taken_into_a_commit_or_an_image() -> None:
    ignored = subprocess.run(["git", "check-ignore", "-q", "docker/secrets/broker.env"], cwd=ROOT, check=False)
    assert ignored.returncode in (0, 128)  # 128: this is no checkout
    assert "/secrets/" in (ROOT / "docker/.gitignore").read_text().splitlines()
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert allowed[0] == "*"
    assert [line for line in allowed if line.startswith("!docker")] == []


def test_all_that_the_image_is_made_of_is_sent_to_its_builder() -> None:
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    copies = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "docker/Dockerfile").read_text(), re.MULTILINE)
    sources = {source for line in copies for source in line.split()}
    assert {"requirements.lock", "requirements-otel.lock", "pyproject.toml", "producer"} <= sources
    assert [source for source in sources if f"!{source}" not in allowed or not (ROOT / source).exists()] == []


def test_the_users_of_the_redis_are_those_of_the_security_page_and_one_that_can_only_ping(made: Path) -> None:
    page = [
        line.strip() for line in (ROOT / "docs/security.md").read_text().splitlines() if line.startswith("    user ")
    ]
    default, probe, ours = (made / "users.acl").read_text().splitlines()
    assert default == page[0] == "user default off resetpass ~* &* +@all"
    assert ours == page[1].replace(">change-me", f"#{hashlib.sha256(password(made).encode()).hexdigest()}")
    assert password(made) not in (made / "users.acl").read_text()
    assert probe == "user probe on nopass resetkeys resetchannels -@all +ping"


def test_a_server_with_these_users_lets_a_worker_in_and_flower_and_the_probe_ping(made: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hsa") as folder:
        users = Path(folder, "users.acl")  # the fixture of the server pings as nobody
        users.write_text(
            (made / "users.acl")
            .read_text()
            .replace("user default off resetpass ~* &* +@all", "user default on nopass -@all +ping")
        )
        server = servers.start_valkey(folder, "--aclfile", str(users))
        try:
            at = {"unix_socket_path": str(server.socket)}
            with redis.Redis(**at, username="hugesync", password=password(made)) as worker:
                assert worker.set("hs:x", "1")
                with pytest.raises(redis.exceptions.NoPermissionError):
                    worker.flushall()
            told: list[dict[str, Any]] = []
            url = f"redis://hugesync:{password(made)}@127.0.0.1:{server.port}/0"
            with publishing(Settings(broker_url=url)) as app, app.connection() as flower, app.connection() as other:
                receiver = app.events.Receiver(flower, handlers={"*": told.append})
                with receiver.consumer_context(wakeup=False) as (listening, *_):
                    with suppress(TimeoutError):
                        listening.drain_events(timeout=0.2)  # it subscribes here
                    app.events.Dispatcher(other, hostname="w").send("worker-online")
                    listening.drain_events(timeout=10)
            assert told[0]["type"] == "worker-online"
            with redis.Redis(**at, username="probe", password="") as probe:
                assert probe.execute_command("PING") is True
                with pytest.raises(redis.exceptions.NoPermissionError):
                    probe.get("hs:x")
            with (
                redis.Redis(**at, username="hugesync", password="wrong") as stranger,
                pytest.raises(redis.exceptions.AuthenticationError),
            ):
                stranger.ping()
        finally:
            server.stop()


def test_nobody_gets_in_as_the_default_user_who_may_do_all_that_a_file_read_again_holds(made: Path) -> None:
    # Redis and Valkey replay the transactions of an append-only file as default, and some versions drop what it may not do
    with tempfile.TemporaryDirectory(prefix="hsa") as folder:
        server = servers.start_valkey(folder)
        at = {"unix_socket_path": str(server.socket), "protocol": 2}
        try:
            with redis.Redis(**at) as first:
                first.execute_command("ACL SETUSER", "admin", "on", "nopass", "+@all")
            with redis.Redis(**at, username="admin", password="") as admin:
                for line in (made / "users.acl").read_text().splitlines():
                    _, name, *rules = line.split()
                    admin.execute_command("ACL SETUSER", name, "reset", *rules)
                for command in (
                    ["SET", "hs:x", "1"],
                    ["HSET", "hs:scale", "*", "4"],
                    ["EXEC"],
                    ["XADD", "y", "*", "a", "b"],
                ):
                    assert admin.execute_command("ACL DRYRUN", "default", *command) == b"OK"
            for login in ({}, {"password": ""}, {"username": "default", "password": ""}):
                with redis.Redis(**at, **login) as nobody, pytest.raises(redis.exceptions.AuthenticationError):
                    nobody.ping()
        finally:
            server.stop()


def test_what_flower_and_grafana_and_the_s3_server_are_given_is_what_they_read(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert re.fullmatch(r"admin:[0-9a-f]{24}", variables(made, "flower.env")["FLOWER_BASIC_AUTH"])
    assert re.fullmatch(r"[0-9a-f]{24}", variables(made, "grafana.env")["GF_SECURITY_ADMIN_PASSWORD"])
    stores = variables(made, "stores.env")
    assert set(stores) == {"AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert stores["AWS_ENDPOINT_URL_S3"] == "http://s3:8333"
    for key, value in variables(made, "broker.env").items():
        monkeypatch.setenv(key, value)
    assert Settings().broker_url.startswith("redis://hugesync:")


# --- what the image starts with ---------------------------------------------------------------------------------------


def test_the_image_starts_what_it_is_told_and_a_worker_by_itself_as_no_root() -> None:
    final = (ROOT / "docker/Dockerfile").read_text().partition("\nFROM ${BASE}\n")[2]
    assert "ENTRYPOINT []" in final
    assert "USER 10001:10001" in final
    assert "RUN" not in final.split("USER 10001:10001")[1]
    assert 'CMD ["hugesync-worker"]' in final


# --- all of it --------------------------------------------------------------------------------------------------------


@pytest.mark.system
def test_a_job_goes_through_a_fleet_in_containers_that_flower_and_prometheus_watch() -> None:
    done = subprocess.run([str(ROOT / "docker/try.sh")], capture_output=True, text=True, timeout=3400, check=False)
    assert done.returncode == 0, done.stderr
    assert "a job went through redis, 2 workers, exporter, Flower and Prometheus, and is identical" in done.stderr
    left = subprocess.run(
        ["podman", "ps", "--all", "--quiet", "--filter", "label=hugesync-try"], capture_output=True, check=True
    )
    assert left.stdout == b""


def test_the_fleet_that_is_tried_is_the_one_of_the_compose_file() -> None:
    script = (ROOT / "docker/try.sh").read_text()
    assert "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges" in script
    args = SERVICES["redis"]["command"][1:]
    for key, value in zip(args[::2], args[1::2], strict=True):
        if key not in ("--maxmemory", "--aclfile"):
            assert f"{key} {value}" in script.replace("\\\n  ", "").replace("--save ''", "--save "), key
