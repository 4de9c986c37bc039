"""A strict fake of Azure Blob Storage over HTTP: it refuses what the service refuses and emulators let pass.

Written from Microsoft's REST documentation and the requests that azure-storage-blob 12.31.1 and obstore 0.12 send, without
a look at HugeSync's adapter. Path style: ``http://127.0.0.1:PORT/devstoreaccount1/CONTAINER/BLOB``. No leases, snapshots,
versions, tags, tiers, page and append blobs: they are answered 501, so that nothing rests on them unnoticed."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from threading import Lock, Thread

from strict_azure_auth import Authority
from strict_azure_copy import Sources
from strict_azure_handler import Handler
from strict_azure_state import Account, AzureLimits
from strict_azure_wire import Asked

ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="  # the emulators' well-known key

Faults = Callable[[str, str, dict[str, str]], tuple[str, int] | None]


class StrictAzure:
    """Serves one account until ``close``, or the end of its ``with``.

    ``clock``: seconds since 1970, for Last-Modified, the week of staged blocks and the dates of SAS. ``faults``, which may be
    set at any time, is asked about each request (method, path, query): ("before", status) answers that error and nothing
    happens; ("after", _) lets it happen and closes the connection without an answer; ("before", 0) only closes it.
    ``empty_pages``: the first page of every listing is empty and has a marker."""

    def __init__(
        self, *, clock: Callable[[], float] = time.time, limits: AzureLimits = AzureLimits(), empty_pages: bool = False
    ) -> None:
        self.account_name, self.key = ACCOUNT, KEY
        self.empty_pages = empty_pages
        self.faults: Faults = lambda method, path, query: None
        self.requests: list[Asked] = []
        self.lock = Lock()
        self.account = Account(lambda: clock(), limits)
        self.authority = Authority(ACCOUNT, KEY, lambda: clock())
        served = self

        class Bound(Handler):
            server_of = served

        self._server = _Server(("127.0.0.1", 0), Bound)
        self.netloc = f"127.0.0.1:{self._server.server_port}"
        self.endpoint = f"http://{self.netloc}/{ACCOUNT}"
        self.sources = Sources(self.account, self.authority, self.netloc)
        Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def connection_string(self) -> str:
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={self.endpoint};"

    @property
    def env(self) -> dict[str, str]:
        """The variables that the SDK's samples, azcopy, rclone and obstore read."""
        return {
            "AZURE_STORAGE_CONNECTION_STRING": self.connection_string,
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_KEY": KEY,
            "AZURE_STORAGE_ACCOUNT_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": self.endpoint,
        }

    def create_container(self, name: str) -> None:
        with self.lock:
            self.account.create_container(name, {})

    def contents(self, container: str) -> dict[str, bytes]:
        """Committed blobs by name, for a test that looks past every client."""
        with self.lock:
            blobs = self.account.container(container).blobs
            return {name: blob.content for name, blob in blobs.items() if blob.content is not None}

    def staged(self, container: str) -> dict[str, list[str]]:
        """The ids of staged blocks of each blob that has some: a job's litter."""
        with self.lock:
            blobs = {
                name: self.account.entry(container, name) for name in list(self.account.container(container).blobs)
            }
            return {
                name: sorted(blob.uncommitted) for name, blob in blobs.items() if blob is not None and blob.uncommitted
            }

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> StrictAzure:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


__all__ = ["ACCOUNT", "KEY", "Asked", "AzureLimits", "StrictAzure"]
