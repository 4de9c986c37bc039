"""Requests to Google Cloud Storage: one session per process, made late, nothing repeated, never carried across ``fork``.

The SDK (google-cloud-storage) decides the endpoint (STORAGE_EMULATOR_HOST, universe, client certificates), google-auth the
credentials; the requests are ours. The SDK's own ``Blob`` calls assemble a whole part in memory a second time, cannot be
stopped within it, and choose between two kinds of upload by size: what leaves here is what is written here.
"""

from __future__ import annotations

import os
from threading import RLock
from typing import Any
from urllib.parse import quote

from hugesync_tasks.stores.gcs_errors import error_of, translated
from hugesync_tasks.stores.gcs_place import Place, check_endpoint, check_shown, credentials_of

CONNECT_TIMEOUT = 5.0  # seconds
READ_TIMEOUT = 60.0
FIRST_READ_TIMEOUT = 10.0  # of an endpoint that nobody has heard from yet: a person waits for the answer
SLOW_READ_TIMEOUT = 900.0  # of composing and rewriting
_GOOGLE = (".googleapis.com", ".googleapis.cn")


class GcsClients:
    """The session of one place. Thread-safe."""

    def __init__(self, place: Place = Place(), concurrency: int = 16, read_timeout: float = READ_TIMEOUT) -> None:
        self.place = place
        self.read_timeout = read_timeout  # seconds
        self._concurrency = concurrency
        self._lock = RLock()
        self._made_in = 0
        self._session: Any = None
        self._endpoint = ""

    @property
    def endpoint(self) -> str:
        """The URL that requests go to."""
        self._made()
        return self._endpoint

    @property
    def is_google(self) -> bool:
        """Google's own service, whose behaviour is documented and not probed."""
        host = self.endpoint.partition("://")[2].partition("/")[0].partition(":")[0].lower()
        return f".{host}".endswith(_GOOGLE)

    @property
    def identity(self) -> str:
        """Who asks: two stores of one identity and endpoint see the same."""
        credentials = self._made().credentials
        return str(getattr(credentials, "service_account_email", "") or getattr(credentials, "client_id", "") or "")

    @property
    def native(self) -> dict[str, str] | None:
        """How obstore comes to the same credentials by itself: {"key": "nobody's"} of an emulator, {"file": path} of a key file,
        {} from the metadata server; None where it cannot."""
        from google.auth import compute_engine
        from google.auth.credentials import AnonymousCredentials
        from google.oauth2 import service_account

        credentials = self._made().credentials
        if isinstance(credentials, AnonymousCredentials):
            return {"key": "nobody's"}
        file = self.place.credentials or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
        if isinstance(credentials, service_account.Credentials):
            return {"file": file} if file else None
        return {} if isinstance(credentials, compute_engine.Credentials) and not file else None

    def bearer(self) -> str:
        """A token that is valid now, "" where none is needed (an emulator). Raises BadCredentials."""
        session = self._made()
        headers: dict[str, str] = {}
        try:
            session.credentials.before_request(session._auth_request, "GET", self._endpoint, headers)
        except Exception as exc:
            raise translated(exc, "find credentials", "") from exc
        return headers.get("authorization", "").removeprefix("Bearer ")

    def send(
        self,
        method: str,
        path: str,
        doing: str,
        key: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        body: Any = None,
        slow: bool = False,
        stream: bool = False,
    ) -> Any:
        """The answer (a ``requests.Response``), which is no refusal. Raises StoreError."""
        session = self._made()
        timeout = (CONNECT_TIMEOUT, SLOW_READ_TIMEOUT if slow else self.read_timeout)
        for attempt in (1, 2):
            try:
                answer = session.request(
                    method,
                    self._endpoint + path,
                    params=query,
                    headers=headers,
                    data=body,
                    timeout=timeout,
                    stream=stream,
                    allow_redirects=False,
                )
                if answer.status_code < 300:
                    return answer
                words, after = answer.text, answer.headers.get("retry-after")
                answer.close()
                if answer.status_code == 401 and attempt == 1 and self._renewed(session):
                    if body is not None and not isinstance(body, bytes):
                        body.seek(0)
                    continue
            except Exception as exc:
                raise translated(exc, doing, key) from exc
            raise error_of(answer.status_code, words, after, doing, key)
        raise AssertionError("unreachable")

    def close(self) -> None:
        with self._lock:
            if self._session is not None and self._made_in == os.getpid():
                self._session.close()
            self._session = None

    @staticmethod
    def _renewed(session: Any) -> bool:
        """A token that was valid when it was looked at may not be when it arrives."""
        from google.auth.credentials import AnonymousCredentials

        if isinstance(session.credentials, AnonymousCredentials):
            return False
        session.credentials.refresh(session._auth_request)
        return True

    def _made(self) -> Any:
        if self._session is not None and self._made_in == os.getpid():
            return self._session
        with self._lock:
            if (
                self._session is None or self._made_in != os.getpid()
            ):  # a forked child must not share its parent's sockets
                try:
                    self._session, self._endpoint = self._build()
                except Exception as exc:
                    raise translated(exc, "use Google Cloud Storage", "") from exc
                self._made_in = os.getpid()
            return self._session

    def _build(self) -> tuple[Any, str]:
        from google.auth.transport.requests import AuthorizedSession
        from google.cloud.storage import Client
        from requests.adapters import HTTPAdapter

        check_endpoint(self.place)
        credentials, project = credentials_of(self.place)
        session: Any = AuthorizedSession(credentials, max_refresh_attempts=0)  # type: ignore[no-untyped-call]
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(pool_maxsize=self._concurrency + 10, max_retries=0))
        session.headers["User-Agent"] = "hugesync"
        options = {"api_endpoint": self.place.endpoint} if self.place.endpoint else None
        client = Client(
            project=self.place.project or project or "none",
            credentials=credentials,
            client_options=options,
            _http=session,
        )
        endpoint = str(client.api_endpoint).rstrip("/")
        check_shown(credentials, endpoint)
        return session, endpoint


def preload() -> None:
    """Load the SDK, so that the children of a process that forks share it. It makes no client and starts no thread."""
    import google.auth.transport.requests
    import google.cloud.storage  # noqa: F401


def segment(text: str) -> str:
    """A bucket or an object as one segment of a path: with a slash in the clear ``a/../b`` would become ``b`` on the way."""
    return quote(text, safe="")
