"""Clients of one S3 endpoint: built late, once per process, retries off, never carried across ``fork``.

Endpoint, region and credentials are the boto chain's (``AWS_ENDPOINT_URL_S3``, ``AWS_PROFILE``, the shared files, roles).
Three boto3 clients, because what distinguishes them belongs to a client and not to a request:

* ``control``: signs bodies where there is no TLS; everything small.
* ``bulk``: never signs bodies; parts, where TLS or a checksum header guards them (16 MiB part: 5.5 ms CPU against 17.6).
* ``slow``: 900 s read time-out; Complete and server-side copies may take minutes.
"""

from __future__ import annotations

import os
from functools import cache
from threading import RLock
from typing import Any, NamedTuple

from hugesync_tasks.errors import BadCredentials
from hugesync_tasks.stores.s3_errors import translated

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 60.0
FIRST_READ_TIMEOUT = 10.0  # of an endpoint that nobody has heard from yet: a person waits for the answer
SLOW_READ_TIMEOUT = 900.0
_AWS_HOSTS = (".amazonaws.com", ".amazonaws.com.cn", ".api.aws")


class Credentials(NamedTuple):
    """As they are now; roles and SSO renew them. ``repr`` shows none of them."""

    access_key: str
    secret_key: str
    token: str | None

    def __repr__(self) -> str:
        return "Credentials(***)"


class S3Clients:
    """The clients of one (profile, endpoint). Thread-safe."""

    def __init__(
        self,
        profile: str = "",
        endpoint: str | None = None,
        concurrency: int = 16,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self.profile = profile
        self.read_timeout = read_timeout  # seconds
        self._endpoint = endpoint or None
        self._concurrency = concurrency
        self._lock = RLock()
        self._made_in = 0
        self._session: Any = None
        self._clients: dict[str, Any] = {}

    @property
    def control(self) -> Any:
        return self._client("control")

    @property
    def bulk(self) -> Any:
        return self._client("bulk")

    @property
    def slow(self) -> Any:
        return self._client("slow")

    @property
    def endpoint(self) -> str:
        """The URL that requests go to."""
        return str(self.control.meta.endpoint_url)

    @property
    def region(self) -> str:
        return str(self.control.meta.region_name or "us-east-1")

    @property
    def is_aws(self) -> bool:
        """Amazon's own service, whose behaviour is documented and not probed."""
        host = self.endpoint.partition("://")[2].partition("/")[0].partition(":")[0].lower()
        return host.endswith(_AWS_HOSTS)

    @property
    def is_tls(self) -> bool:
        return self.endpoint.startswith("https://")

    @property
    def ca_bundle(self) -> str | None:
        """The file of extra certificates that the user configured for AWS tools."""
        self._client("control")
        configured = self._session._session.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
        return str(configured) if configured else None

    def credentials(self) -> Credentials:
        """Now valid ones; raises BadCredentials where there are none."""
        self._client("control")
        try:
            found = self._session.get_credentials()
            frozen = found.get_frozen_credentials() if found is not None else None
        except Exception as exc:
            raise translated(exc, "find credentials", "") from exc
        if frozen is None or not frozen.access_key:
            raise BadCredentials("no credentials were found for S3")
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    def close(self) -> None:
        with self._lock:
            if self._made_in == os.getpid():
                for client in self._clients.values():
                    client.close()
            self._clients.clear()

    def _client(self, name: str) -> Any:
        if self._made_in == os.getpid() and name in self._clients:
            return self._clients[name]
        with self._lock:
            if self._made_in != os.getpid():  # a forked child must not share its parent's sockets
                self._clients, self._session, self._made_in = {}, None, os.getpid()
            if name not in self._clients:
                try:
                    self._clients[name] = self._build(name)
                except Exception as exc:
                    raise translated(exc, "use S3", "") from exc
            return self._clients[name]

    def _build(self, name: str) -> Any:
        import boto3.session
        import botocore.session
        from botocore.config import Config

        if self._session is None:
            core = botocore.session.Session()
            core.register_component("data_loader", _descriptions())
            self._session = boto3.session.Session(botocore_session=core, profile_name=self.profile or None)
        s3: dict[str, Any] = {}
        if self._endpoint or _custom_endpoint(self._session):
            s3["addressing_style"] = "path"
        if name == "bulk":
            s3["payload_signing_enabled"] = False
        return self._session.client(
            "s3",
            endpoint_url=self._endpoint,
            region_name=self._session.region_name or "us-east-1",
            config=Config(
                s3=s3,
                signature_version="s3v4",
                connect_timeout=CONNECT_TIMEOUT,
                read_timeout=SLOW_READ_TIMEOUT if name == "slow" else self.read_timeout,
                retries={"total_max_attempts": 1, "mode": "standard"},
                max_pool_connections=self._concurrency + 2,
                request_checksum_calculation="when_required",  # we send our own
                response_checksum_validation="when_required",
                user_agent_extra="hugesync",
            ),
        )


def preload() -> None:
    """Load the SDK and its description of S3, so that the children of a process that forks share them (0.2 s of CPU
    each). It makes no client and starts no thread."""
    import boto3.session  # noqa: F401

    descriptions = _descriptions()
    for kind in ("service-2", "endpoint-rule-set-1"):
        descriptions.load_service_model("s3", kind)
    for name in ("endpoints", "partitions", "sdk-default-configuration"):
        descriptions.load_data(name)


@cache
def _descriptions() -> Any:
    """The loader of the SDK's data files, one for all sessions: each would parse S3's for itself (0.07 s of CPU)."""
    from botocore.loaders import create_loader

    return create_loader(os.environ.get("AWS_DATA_PATH"))


def _custom_endpoint(session: Any) -> bool:
    """Whether the environment or the profile names an endpoint: such stores rarely have a DNS name per bucket."""
    if os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        return False
    if os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"):
        return True
    scoped = session._session.get_scoped_config()
    if scoped.get("endpoint_url"):
        return True
    services = session._session.full_config.get("services", {}).get(scoped.get("services", ""), {})
    return bool(services.get("s3", {}).get("endpoint_url"))
