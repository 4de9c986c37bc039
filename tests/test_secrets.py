"""Promise 10: no secret leaves the process that owns it. Canaries in environment, AWS files and configuration are looked for in
everything that others can read, while a job is held in the middle and after it; and the ACL file of ``docs/security.md`` suffices."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

import servers
from acl import ADMIN, ADMIN_PASSWORD, PASSWORD
from conftest import Bucket
from hugesync_tasks.celery import options
from hugesync_tasks.config import load
from processes import Place, Running, wait_until
from slowproxy import SlowProxy
from strict_azure import StrictAzure
from strict_gcs import StrictGcs
from submit import Submit

MIB = 1 << 20
SIGNED = re.compile(rb"(?:X-Amz-Signature|[^-\w]sig|Signature)=[0-9a-f]{32,}", re.IGNORECASE)
LARGE = ("--delta-threshold", "6MiB")


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Iterator[Place]:
    """Credentials in the AWS files, a second profile's beside them, others in the environment."""
    aws = tmp_path / "aws"
    aws.mkdir()
    env = s3_bucket.env
    (aws / "credentials").write_text(
        f"[default]\naws_access_key_id = {env['AWS_ACCESS_KEY_ID']}\naws_secret_access_key = {env['AWS_SECRET_ACCESS_KEY']}\n"
        "[other]\naws_access_key_id = other\naws_secret_access_key = canary-of-another-profile\n"
        "aws_session_token = canary-of-a-session\n"
    )
    rest = {k: v for k, v in env.items() if k not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    it = Place(
        tmp_path / "place",
        {
            **rest,
            "AWS_ENDPOINT_URL_S3": proxy.endpoint,
            "AWS_SHARED_CREDENTIALS_FILE": str(aws / "credentials"),
            "AZURE_STORAGE_CONNECTION_STRING": "AccountName=x;AccountKey=canary-of-azure",
            "MY_OWN_TOKEN": "canary-of-the-environment",
            "HUGESYNC_WORKER_CONCURRENCY": "2",
            "HUGESYNC_PART_SIZE": "5MiB",
        },
    )
    yield it
    it.end()


@pytest.fixture
def canaries(s3_bucket: Bucket) -> list[bytes]:
    return [
        s3_bucket.env["AWS_SECRET_ACCESS_KEY"].encode(),
        PASSWORD.encode(),
        b"canary-of-another-profile",
        b"canary-of-a-session",
        b"canary-of-azure",
        b"canary-of-the-environment",
    ]


def found(places: dict[str, bytes], canaries: list[bytes]) -> list[str]:
    """Where which canary is, plain or in base64; and what looks like a signed request."""
    hits = []
    for name, text in places.items():
        for canary in canaries:
            forms = [canary, *(base64.b64encode(b" " * i + canary)[4:-4] for i in range(3))]
            hits += [f"{canary.decode()} in {name}" for form in forms if form in text]
        hits += [f"{hit.decode()[:40]}... in {name}" for hit in SIGNED.findall(text)]
    return hits


@pytest.mark.parametrize(
    "text",
    [
        b"key=canary!",
        base64.b64encode(b"{'key': 'canary!'}"),
        base64.b64encode(b"x{'key': 'canary!'}"),
        base64.b64encode(b"xx{'key': 'canary!'}"),
        b"https://store/x?X-Amz-Signature=" + b"0f" * 32,
    ],
)
def test_the_judge_sees_a_secret_in_any_form(text: bytes) -> None:
    assert found({"place": text}, [b"canary!"])
    assert found({"place": b"nothing of the kind"}, [b"canary!"]) == []


def source(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(12 * MIB + 5))
    for n in range(5):
        (folder / f"f{n}").write_bytes(b"x" * n)
    return folder


def objects(s3: Bucket) -> dict[str, bytes]:
    """What lies beside the user's data: signatures, intents; with their metadata."""
    listed = s3.client.list_objects_v2(Bucket=s3.bucket).get("Contents", [])
    there = {}
    for key in (o["Key"] for o in listed if ".hugesync" in o["Key"] or o["Key"].endswith(".hssig")):
        answer = s3.client.get_object(Bucket=s3.bucket, Key=key)
        there[f"object {key}"] = answer["Body"].read() + json.dumps(answer["Metadata"]).encode()
    return there


def redis_dump(server: servers.ValkeyServer) -> dict[str, bytes]:
    """Every key, as DUMP serialises it, and its value as text (a dump may be compressed)."""
    r = redis.Redis(unix_socket_path=str(server.socket), username=ADMIN, password=ADMIN_PASSWORD)
    read = {
        b"string": lambda k: r.get(k), b"hash": lambda k: r.hgetall(k), b"list": lambda k: r.lrange(k, 0, -1),
        b"set": lambda k: r.smembers(k), b"zset": lambda k: r.zrange(k, 0, -1),
    }  # fmt: skip
    there = {}
    for key in r.scan_iter(count=1000):
        there[f"redis {key.decode()}"] = key + (r.dump(key) or b"") + repr(read[r.type(key)](key)).encode()
    r.close()
    return there


def files(folder: Path) -> dict[str, bytes]:
    there = {}
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                there[f"file {path.name}"] = path.read_bytes()
    return there


class Monitor:
    """Every command that anybody sends to the server, from now on; messages on their way included."""

    def __init__(self, server: servers.ValkeyServer) -> None:
        self._redis = redis.Redis(unix_socket_path=str(server.socket), username=ADMIN, password=ADMIN_PASSWORD)
        self.heard: list[str] = []
        self._monitor = self._redis.monitor()
        self._monitor.__enter__()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(redis.RedisError, OSError, ValueError):
            for command in self._monitor.listen():
                self.heard.append(command["command"])

    def close(self) -> None:
        self._redis.connection_pool.disconnect()


def task_messages(commands: list[str]) -> list[tuple[list[str], dict[str, object]]]:
    """Arguments, positional and by name, of each task that was put into a queue."""
    there = []
    for text in (c.replace("\\", "") for c in commands if "LPUSH" in c):
        if '"task": "hugesync.' in text and (body := re.search(r'"body": "([A-Za-z0-9+/=]+)"', text)):
            args, kwargs, _ = json.loads(base64.b64decode(body[1]))
            there.append((args, kwargs))
    return there


def said(*processes: Running) -> dict[str, bytes]:
    return {f"output of {p.pid}, {path.name}": path.read_bytes() for p in processes for path in (p.out, p.err)}


def test_in_a_fleet_nothing_that_others_can_read_has_a_secret_and_the_acl_file_suffices(
    tmp_path: Path,
    place: Place,
    proxy: SlowProxy,
    guarded: servers.ValkeyServer,
    s3_bucket: Bucket,
    canaries: list[bytes],
) -> None:
    """The broker's URL, with its password, is in the configuration file. The worker logs text with -v, the producer JSON with
    --debug. The job is held before its first Complete, when there is an intent, and all of it is in Redis."""
    folder, monitor = source(tmp_path), Monitor(guarded)
    config = place.folder / "config" / "hugesync" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(
        f'broker_url = "redis://hugesync:{PASSWORD}@127.0.0.1:{guarded.port}/0"\nworker_roots = ["data={folder}"]\n'
    )
    worker = place.start([shutil.which("python") or "python", "-m", "hugesync_worker", "-v", "--task-events"])
    proxy.hold_at("POST", "large?uploadId")
    submit = place.submit(folder, f"s3://{s3_bucket.bucket}/x", *LARGE, "-v", "--debug", "--log-format", "json")
    proxy.held(40)
    midway = {**redis_dump(guarded), **objects(s3_bucket)}
    proxy.release()
    ended = submit.finish()
    assert ended.code == 0, ended.err[-3000:] + worker.said()[-3000:]
    assert ended.summary["files"]["done"] == 6
    after = {**redis_dump(guarded), **objects(s3_bucket), **said(worker, submit), **files(place.folder / "state")}
    messages = task_messages(monitor.heard)
    wire = {"commands sent to redis": "\n".join(monitor.heard).encode()}
    monitor.close()

    names = [*midway, *after]
    for what in ("redis hs:job:", ".upload", "large.hssig", "redis hs:{workers}:"):
        assert any(what in name for name in names), f"nothing was looked at that is {what}"
    assert b"hugesync.batch" in wire["commands sent to redis"]
    assert found(midway, canaries) == []
    assert found({**after, **wire}, canaries) == []
    assert {args[0] for args, _ in messages} == {ended.summary["job_id"]}
    for args, kwargs in messages:  # all that Flower can show of a task
        assert (len(args), kwargs) == (2, {})
        assert re.fullmatch(r"[bd]\d+\.\d+|[0-9a-f]{32}:\w+", args[1]), args
    assert options(load({}))["accept_content"] == ["json"]


def test_embedded_the_jobs_folder_and_its_redis_have_no_secret(
    tmp_path: Path, place: Place, proxy: SlowProxy, s3_bucket: Bucket, canaries: list[bytes]
) -> None:
    folder = source(tmp_path)
    proxy.hold_at("POST", "large?uploadId")
    submit = place.submit(folder, f"s3://{s3_bucket.bucket}/x", *LARGE, "-v", "--debug")
    proxy.held(40)
    aof = wait_until(lambda: [n for n, b in files(place.folder / "state").items() if "aof" in n and b], what="the AOF")
    midway = {**files(place.folder / "state"), **objects(s3_bucket)}
    proxy.release()
    ended = submit.finish()
    assert ended.code == 0
    assert aof
    assert found({**midway, **files(place.folder / "state"), **said(submit)}, canaries) == []


def test_wrong_credentials_are_told_without_what_they_were(tmp_path: Path, place: Place, s3_bucket: Bucket) -> None:
    wrong, url = "canary-that-is-wrong", "redis://me:canary-of-a-url@127.0.0.1:1/0"
    keys = {"AWS_ACCESS_KEY_ID": "testaccess", "AWS_SECRET_ACCESS_KEY": wrong}
    flags, there = ("-v", "--debug", "--log-format"), f"s3://{s3_bucket.bucket}/x"
    refused = place.submit(source(tmp_path), there, *flags, "text", **keys)
    unreached = place.submit(tmp_path / "src", there, *flags, "json", "--broker", url)
    assert refused.finish().code == 2
    assert unreached.finish().code == 5
    assert "signature" in refused.said().lower()  # the server's word for a wrong key
    places = {**said(refused, unreached), **files(place.folder / "state")}
    assert found(places, [wrong.encode(), b"canary-of-a-url"]) == []


@pytest.mark.parametrize(
    "command", ["CONFIG GET *", "FLUSHALL", "KEYS *", "GET other:key", "SHUTDOWN", "ACL LIST", "SCRIPT FLUSH"]
)
def test_the_acl_user_can_do_nothing_to_others(guarded: servers.ValkeyServer, command: str) -> None:
    r = redis.Redis(unix_socket_path=str(guarded.socket), username="hugesync", password=PASSWORD)
    with pytest.raises(redis.exceptions.NoPermissionError):
        r.execute_command(*command.split())
    r.close()


def test_of_azure_neither_the_key_nor_a_signature_for_a_copied_range_is_anywhere(tmp_path: Path) -> None:
    here, state = source(tmp_path), tmp_path / "us"
    with StrictAzure() as strict:
        strict.create_container("box")
        submit = Submit(state, {**strict.env, "HUGESYNC_PART_SIZE": "5MiB"})
        first = submit(here, "az://box/to", *LARGE, "-v", "--debug")
        with open(here / "large", "r+b") as file:
            file.seek(3 * MIB)
            file.write(b"changed")
        ran = submit(here, "az://box/to", *LARGE, "-v", "--debug")
        assert (ran.code, ran.json["transfers"]["delta"]) == (0, 1), (ran.json, ran.err)
        signed = [asked for asked in strict.requests if "sig=" in asked.headers.get("x-ms-copy-source", "")]
        assert signed, "a range was copied with a signature, which was seen by the store alone"
        places = {"what was printed": (first.out + first.err + ran.out + ran.err).encode()}
        places |= {str(path): path.read_bytes() for path in state.rglob("*") if path.is_file()}
        assert found(places, [strict.key.encode()]) == []


def test_each_side_has_the_secrets_of_its_own_profile_and_they_are_nowhere_else(tmp_path: Path) -> None:
    here, us = source(tmp_path), tmp_path / "us"
    with StrictAzure() as one, StrictAzure() as two, StrictGcs(buckets=("box",)) as google:
        for service in (one, two):
            service.create_container("box")
        config = us / "config" / "hugesync" / "config.toml"
        config.parent.mkdir(parents=True)
        config.touch(mode=0o600)
        config.write_text(
            f'[profiles.one]\nconnection_string = "{one.connection_string}"\n'
            f'[profiles.two]\naccount = "{two.account_name}"\nkey = "{two.key}"\nendpoint = "{two.endpoint}"\n'
            f'[profiles.google]\nendpoint = "{google.endpoint}"\n'
        )
        submit, say = Submit(us, {"HUGESYNC_PART_SIZE": "5MiB"}), ("-v", "--debug")
        up = submit(here, "az://box/a", "--dest-profile", "one", *say)
        over = submit("az://box/a", "az://box/b", "--source-profile", "one", "--dest-profile", "two", *say)
        on = submit("az://box/b", "gs://box/c", "--source-profile", "two", "--dest-profile", "google", *say)
        refused = submit("az://box/a", tmp_path / "back", *say)

        held = [one.contents("box"), two.contents("box"), {k: v.data for k, v in google.objects("box").items()}]
    for ran, prefix, there in zip((up, over, on), ("a/", "b/", "c/"), held, strict=True):
        assert (ran.code, ran.files["done"]) == (0, 6), (ran.json, ran.err)
        trees = {key.removeprefix(prefix): body for key, body in there.items() if not key.endswith(".hssig")}
        assert trees == {path.name: path.read_bytes() for path in here.iterdir()}
    assert refused.code == 2, "without a profile there are no credentials"
    places = {"what was printed": "".join(ran.out + ran.err for ran in (up, over, on, refused)).encode()}
    places |= {str(path): path.read_bytes() for path in us.rglob("*") if path.is_file() and path != config}
    assert found(places, [one.key.encode()]) == []
