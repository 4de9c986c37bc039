"""Requests to one storage account: built late, once per process, retries off, never carried across ``fork``.

The SDK signs, keeps the connections and follows nothing; we say what is sent. Its own methods lose what we need:
``stage_block_from_url`` drops the source's conditions, ``commit_block_list`` the order of committed and new blocks,
``get_block_list`` fails at block ids that are no text, and a listed blob costs ten times the CPU.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import RLock
from typing import Any
from urllib.parse import quote, urlencode

from hugesync_tasks.errors import Transient
from hugesync_tasks.stores.azure_account import PROFILE_KEYS, Account, account_of, bare
from hugesync_tasks.stores.azure_errors import error_of, refusal_of, translated
from hugesync_tasks.stores.object_reader import pieces
from hugesync_tasks.stores.paced_body import PacedBody
from hugesync_tasks.token import Token

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 60.0
FIRST_READ_TIMEOUT = 10.0  # of an endpoint that nobody has heard from yet: a person waits for the answer
SLOW_READ_TIMEOUT = 900.0
SAS_MINUTES = 15


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. ``whole``: the blob's whole key, "" = the container itself. ``slow``: may take minutes."""

    method: str
    container: str
    whole: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | PacedBody | None = None
    stream: bool = False
    slow: bool = False


class Answered:
    """What came: headers, and the body as XML or as a stream."""

    def __init__(self, run: Any) -> None:
        self._run = run

    @property
    def headers(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._run.http_response.headers
        return found

    def xml(self, doing: str) -> Any:
        """The root element, as the SDK has parsed it already. Raises Transient where it is none."""
        from azure.core.pipeline.policies import ContentDecodePolicy

        found = self._run.context.get(ContentDecodePolicy.CONTEXT_NAME)
        if not hasattr(found, "findtext"):
            raise Transient(f"cannot {doing}: the service's answer cannot be read")
        return found

    def chunks(self, key: str, token: Token | None = None) -> Iterator[bytes]:
        """The body, in pieces as the bandwidth of ``token``'s job allows; the connection is given back however iteration ends."""
        raw = self._run.http_response.internal_response.raw
        return pieces(
            lambda most: raw.read(most, decode_content=False), self.close, lambda e: translated(e, "read", key), token
        )

    def close(self) -> None:
        self._run.http_response.internal_response.close()


class AzureClients:
    """The one connection pool of a (profile, endpoint). Thread-safe."""

    def __init__(
        self,
        profile: str = "",
        endpoint: str | None = None,
        concurrency: int = 16,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        self.profile = profile
        self.read_timeout = read_timeout  # seconds
        self._endpoint = endpoint or ""
        self._concurrency = concurrency
        self._lock = RLock()
        self._made_in = 0
        self._service: Any = None
        self._account: Account | None = None

    @property
    def account(self) -> Account:
        """Raises BadCredentials where none is named."""
        if self._account is None:
            said: Mapping[str, str] = {}
            if self.profile:
                from hugesync_tasks.profiles import profile

                said = profile(self.profile, PROFILE_KEYS)
            found = account_of(said)
            self._account = replace(found, endpoint=bare(self._endpoint, "endpoint")) if self._endpoint else found
        return self._account

    @property
    def endpoint(self) -> str:
        return self.account.endpoint

    def ask(self, ask: Ask, doing: str, key: str) -> Answered:
        """Raises StoreError for whatever is no success, and what ended the body (``Stopped``)."""
        from azure.core.pipeline.transport import HttpRequest

        request = HttpRequest(ask.method, self.url(ask.container, ask.whole, ask.query))
        service = self._client()
        request.headers.update({"x-ms-version": service.api_version, "Accept": "application/xml"})
        request.headers.update(ask.headers)
        size = len(ask.body) if ask.body is not None else 0
        if ask.method == "PUT":
            request.headers["Content-Length"] = str(size)
        if size:
            request.set_streamed_data_body(ask.body)
        try:
            run = service._pipeline.run(
                request,
                stream=ask.stream,
                read_timeout=SLOW_READ_TIMEOUT if ask.slow else self.read_timeout,
                client_request_id=str(uuid.uuid4()),  # the SDK's own, uuid1, costs every thread a file that stays open
            )
            response = run.http_response
            if response.status_code >= 300:
                body = b"".join(Answered(run).chunks(key)) if ask.stream else response.body()
                raise error_of(refusal_of(response.status_code, response.headers, body), doing, key)
        except Exception as exc:
            if isinstance(ask.body, PacedBody) and ask.body.stopped is not None:
                raise ask.body.stopped from None
            error = translated(exc, doing, key)
            if error is exc:
                raise
            raise error from exc
        return Answered(run)

    def url(self, container: str, whole: str, query: Mapping[str, str] | None = None) -> str:
        path = f"/{container}/{quote(whole, safe='~/')}" if whole else f"/{container}"
        return self.endpoint + path + (f"?{urlencode(query, quote_via=quote, safe='~')}" if query else "")

    def source(self, container: str, whole: str) -> dict[str, str]:
        """The headers by which the service itself may read a blob. They hold a credential: never logged, never in an error,
        and of no use for anything but reading this one blob for some minutes."""
        account, url = self.account, self.url(container, whole)
        if account.token is not None:
            token = account.token.get_token("https://storage.azure.com/.default").token
            return {"x-ms-copy-source": url, "x-ms-copy-source-authorization": f"Bearer {token}"}
        return {"x-ms-copy-source": f"{url}?{account.sas or self._read_only(account, container, whole)}"}

    @staticmethod
    def _read_only(account: Account, container: str, whole: str) -> str:
        from azure.storage.blob import BlobSasPermissions, generate_blob_sas

        return str(
            generate_blob_sas(
                account.name,
                container,
                whole,
                account_key=account.key,
                permission=BlobSasPermissions(read=True),
                expiry=datetime.now(UTC) + timedelta(minutes=SAS_MINUTES),
            )
        )

    def close(self) -> None:
        with self._lock:
            if self._made_in == os.getpid() and self._service is not None:
                self._service.close()
            self._service = None

    def _client(self) -> Any:
        if self._made_in == os.getpid() and self._service is not None:
            return self._service
        with self._lock:
            if self._made_in != os.getpid():  # a forked child must not share its parent's sockets
                self._service, self._made_in = None, os.getpid()
            if self._service is None:
                try:
                    self._service = self._build()
                except Exception as exc:
                    raise translated(exc, "use Azure", "") from exc
            return self._service

    def _build(self) -> Any:
        from azure.core.pipeline.transport import RequestsTransport
        from azure.storage.blob import BlobServiceClient

        account = self.account
        return BlobServiceClient(
            account.endpoint,
            credential=account.credential(),
            transport=RequestsTransport(
                session=_session(account.endpoint, self._concurrency + 2),
                connection_timeout=CONNECT_TIMEOUT,
                read_timeout=self.read_timeout,
                connection_verify=ca_bundle() or True,
            ),
            retry_total=0,
            permit_redirects=False,
            user_agent="hugesync",
        )


def _session(endpoint: str, connections: int) -> Any:
    """As the SDK makes its own, with as many connections as we have threads. Proxies are looked up once and not at every
    request, and no ``.netrc`` puts its own credentials in place of ours."""
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.proxies = requests.utils.get_environ_proxies(endpoint)
    session.trust_env = False
    session.headers.clear()
    adapter = HTTPAdapter(pool_connections=2, pool_maxsize=connections)  # which by itself repeats nothing
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def ca_bundle() -> str:
    """The file of certificates that the user configured, "" = the usual ones."""
    return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or ""


def preload() -> None:
    """Load the SDK, so that the children of a process that forks share it. It makes no client and starts no thread."""
    import azure.storage.blob  # noqa: F401
    import requests  # noqa: F401
