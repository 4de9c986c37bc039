"""Fixtures: the real servers, one of each for a test session."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import acl
import servers
from midway import PART
from processes import Place
from scale import factor
from slowproxy import SlowProxy

SMALL = 0.2  # of the issues' sizes; up to here servers fit into memory


def pytest_configure() -> None:
    """Who starts the tests in the background of a script may have SIGINT ignored, and every process inherits that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """What a test configures of logging in this process is no other test's: lines that are not wanted there are never made."""
    kept = {name: it.level for name, it in logging.root.manager.loggerDict.items() if isinstance(it, logging.Logger)}
    level, handlers = logging.root.level, logging.root.handlers[:]
    yield
    logging.root.setLevel(level)
    logging.root.handlers[:] = [h for h in logging.root.handlers if h in handlers]
    for name, it in list(logging.root.manager.loggerDict.items()):
        if isinstance(it, logging.Logger) and it.level != kept.get(name, logging.NOTSET):
            it.setLevel(kept.get(name, logging.NOTSET))


@dataclass(frozen=True)
class Bucket:
    """A fresh bucket. ``env`` is what a process needs in its environment to reach it."""

    server: servers.S3Server
    bucket: str

    @property
    def endpoint(self) -> str:
        return self.server.endpoint

    @property
    def env(self) -> dict[str, str]:
        return dict(self.server.env)  # its own: a test adds to it, and the server is every test's

    @property
    def client(self) -> Any:
        """A plain boto3 client, to look at what the code under test did."""
        return servers.s3_client(self.server)


@dataclass(frozen=True)
class GcsBucket:
    """A fresh bucket of Google Cloud Storage's emulator. ``env`` is what a process needs in its environment to reach it."""

    server: servers.GcsServer
    bucket: str

    @property
    def endpoint(self) -> str:
        return self.server.endpoint

    @property
    def env(self) -> dict[str, str]:
        return dict(self.server.env)  # its own: a test adds to it, and the server is every test's


def required(server: str) -> bool:
    """Whether a missing ``server`` is an error (``CI=true``, ``HUGESYNC_TEST_REQUIRE=redis,s3``) and not a skip."""
    wanted = os.environ.get("HUGESYNC_TEST_REQUIRE", "").split(",")
    return os.environ.get("CI", "").lower() in ("true", "1") or server in [w.strip() for w in wanted]


def missing(server: str, why: Exception) -> None:
    if required(server):
        pytest.fail(f"{server}: {why}", pytrace=False)
    print(f"\nSKIPPED, NOT TESTED: {server}: {why}", file=sys.__stderr__)
    pytest.skip(f"{server}: {why}")


@pytest.fixture(scope="session")
def server_dir() -> Iterator[Path]:
    """A short path (unix sockets), in memory where there is a tmpfs. At full size the servers come to hold tens of GiB: those
    go to disk."""
    shm = Path("/dev/shm")
    small = factor() <= SMALL and os.access(shm, os.W_OK)
    folder = tempfile.mkdtemp(prefix="hst", dir=shm if small else None)
    yield Path(folder)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def seaweedfs(server_dir: Path) -> Iterator[servers.S3Server]:
    try:
        server = servers.start_seaweedfs(server_dir / "weed")
    except servers.ServerMissing as why:
        missing("s3", why)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gcs_server(server_dir: Path) -> Iterator[servers.GcsServer]:
    try:
        server = servers.start_fake_gcs(server_dir / "gcs")
    except servers.ServerMissing as why:
        missing("gcs", why)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def valkey(server_dir: Path) -> Iterator[servers.ValkeyServer]:
    try:
        server = servers.start_valkey(server_dir / "valkey")
    except servers.ServerMissing as why:
        missing("redis", why)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def azurite(server_dir: Path) -> Iterator[servers.AzureServer]:
    try:
        server = servers.start_azurite(server_dir / "azurite", on_disk=factor() > SMALL)
    except servers.ServerMissing as why:
        missing("azure", why)
    yield server
    server.stop()


@pytest.fixture
def broker() -> Iterator[servers.ValkeyServer]:
    """A fleet's broker, of one test alone."""
    folder = tempfile.mkdtemp(prefix="hsf")
    server = servers.start_valkey(folder)
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def guarded() -> Iterator[servers.ValkeyServer]:
    """A broker with the ACL file of docs/security.md, and somebody who looks at everything (``acl.py``)."""
    folder = tempfile.mkdtemp(prefix="hss")
    server = servers.start_valkey(folder, "--aclfile", str(acl.file(Path(folder, "users.acl"))))
    yield server
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def s3_bucket(seaweedfs: servers.S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A fresh bucket, with AWS_* of this process pointing to its server and no other AWS setting."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in seaweedfs.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    it = Bucket(seaweedfs, f"t-{uuid.uuid4().hex[:16]}")
    it.client.create_bucket(Bucket=it.bucket)
    yield it
    if factor() > SMALL:  # else the bucket goes with the server's folder: deleting one takes SeaweedFS seconds
        it.client.delete_bucket(Bucket=it.bucket)  # with all that is in it: SeaweedFS does that


def only_google_of(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """This process's Google settings become ``env`` and nothing else."""
    for name in [n for n in os.environ if n.startswith(("GOOGLE_", "STORAGE_EMULATOR", "CLOUDSDK_"))]:
        monkeypatch.delenv(name)
    for name, value in env.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def gcs_bucket(gcs_server: servers.GcsServer, monkeypatch: pytest.MonkeyPatch) -> GcsBucket:
    """A fresh bucket, with this process's environment pointing to its server and no other Google setting."""
    only_google_of(gcs_server.env, monkeypatch)
    it = GcsBucket(gcs_server, f"t-{uuid.uuid4().hex[:16]}")
    gcs_server.create_bucket(it.bucket)
    return it


@dataclass(frozen=True)
class Container:
    """A fresh container of an Azure Blob server. ``env`` is what a process needs in its environment to reach it."""

    server: servers.AzureServer
    container: str
    client: Any  # the SDK's, to look at what the code under test did

    @property
    def env(self) -> dict[str, str]:
        return dict(self.server.env)  # its own: a test adds to it, and the server is every test's


def azure_environment(environment: pytest.MonkeyPatch, env: dict[str, str]) -> None:
    """Let this process reach the server of ``env`` by AZURE_*, with no other such setting."""
    for name in [n for n in os.environ if n.startswith("AZURE_")]:
        environment.delenv(name)
    for name, value in env.items():
        environment.setenv(name, value)


@pytest.fixture
def azure_container(azurite: servers.AzureServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Container]:
    azure_environment(monkeypatch, azurite.env)
    name = f"t-{uuid.uuid4().hex[:16]}"
    with servers.azure_container(azurite, name) as client:
        yield Container(azurite, name, client)


@pytest.fixture
def proxy(s3_bucket: Bucket) -> Iterator[SlowProxy]:
    """Between a test's processes and the store of ``s3_bucket``."""
    with SlowProxy(s3_bucket.endpoint) as it:
        yield it


@pytest.fixture
def place(tmp_path: Path, s3_bucket: Bucket, proxy: SlowProxy) -> Iterator[Place]:
    """Where the product runs with two task processes and small parts, its store behind ``proxy``. Ends what is left."""
    env = {
        **s3_bucket.env,
        "AWS_ENDPOINT_URL_S3": proxy.endpoint,
        "HUGESYNC_PART_SIZE": str(PART),
        "HUGESYNC_WORKER_CONCURRENCY": "2",
    }
    it = Place(tmp_path / "place", env)
    yield it
    it.end()
