"""Small GET, PUT and HEAD through obstore: a tenth of the CPU of an HTTP session in Python.

Measured against the strict fake (4 KiB, ms of CPU on two busy cores): put 0.13, with all that stands around it here 0.29, by
the session 2.4, by the SDK's Blob 2.2 to 3.2; get 0.11, 0.31, 1.5, 1.6 to 2.0; head 0.10, 0.25, 1.8, 1.5 to 1.6.
obstore speaks the XML API: a put carries ``x-goog-if-generation-match`` and the
metadata, its answer the generation and, where the service gives it for an ETag, the MD5. A read is not conditional: the
generation is in the answer, before the body. What obstore cannot do goes by the session: keys that it changes, an encryption
key, credentials it does not know (its puts sign with credentials of its own alone), emulators without the XML API's put.
What ``obstore_calls`` says of forks, threads and the end of the interpreter holds here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from threading import Lock
from typing import TYPE_CHECKING, Any

from hugesync_tasks.errors import Cancelled, StoreError, Transient
from hugesync_tasks.model import Meta
from hugesync_tasks.stores.base import ANY
from hugesync_tasks.stores.gcs_client import CONNECT_TIMEOUT, GcsClients
from hugesync_tasks.stores.gcs_errors import error_of
from hugesync_tasks.stores.gcs_meta import resource
from hugesync_tasks.stores.obstore_calls import GATE, chunks, maps_to_itself, refusal_of_text

if TYPE_CHECKING:
    from obstore import GetResult

# What obstore takes from the environment and no argument of ours takes back.
_STUBBORN = (
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "GOOGLE_SERVICE_ACCOUNT_KEY",
    "GOOGLE_SKIP_SIGNATURE",
    "GOOGLE_BASE_URL",
)


class GcsSmall:
    """obstore on one bucket. Errors are ours; None = the session must do it. Thread-safe."""

    def __init__(self, bucket: str, clients: GcsClients) -> None:
        self._bucket = bucket
        self._clients = clients
        self._lock = Lock()
        self._made: tuple[int, str, Any] | None = None
        self._puts = True

    def usable(self, key: str) -> bool:
        """Whether ``key`` (whole) may go this way in this environment."""
        return maps_to_itself(key) and not any(os.environ.get(name) for name in _STUBBORN)

    def puts(self, key: str) -> bool:
        """Whether ``key`` (whole) may be put this way. Raises BadCredentials."""
        return self._puts and self.usable(key) and self._clients.native is not None

    def put(self, key: str, body: bytes, meta: Meta, expected: str | None) -> tuple[str, str] | None:
        """The new generation and the ETag. ``expected`` is a generation, None or ANY."""
        import obstore

        about = resource(meta)
        attributes: dict[str, str] = {**about["metadata"], "Content-Type": about["contentType"]}
        if meta.storage_class:
            attributes["Storage-Class"] = meta.storage_class
        mode: Any = "create" if expected is None else "overwrite" if expected == ANY else {"version": expected}
        try:
            store = self._store()
            with GATE.call():
                done = obstore.put(store, key, body, attributes=attributes, mode=mode, use_multipart=False)
        except Exception as exc:
            if refusal_of_text(str(exc)).status == 400 and not self._clients.is_google:
                self._puts = False  # fake-gcs-server
                return None
            raise _translated(exc, "write", key) from exc
        return (done["version"] or "", (done["e_tag"] or "").strip('"')) if done["version"] else None

    def get(self, key: str, span: tuple[int, int | None] | None, head: bool = False) -> GetResult | None:
        """Headers of the answer, the body not yet read. ``span``: (start, length)."""
        import obstore

        options: dict[str, Any] = {"head": head}
        if span is not None:
            start, length = span
            options["range"] = {"offset": start} if length is None else (start, start + length)
        try:
            store = self._store()
            with GATE.call():
                found = obstore.get(store, key, options=options)  # type: ignore[arg-type]
        except Exception as exc:
            raise _translated(exc, "look at it" if head else "read", key) from exc
        return found if found.meta["version"] else None

    def chunks(self, result: GetResult, key: str, size: int) -> Iterator[bytes]:
        return chunks(result, size, lambda exc: _translated(exc, "read", key))

    def close(self) -> None:
        with self._lock:
            self._made = None

    def _store(self) -> Any:
        """The Rust store: with credentials of its own, or with a token, and made anew when that was renewed."""
        native = self._clients.native
        bearer = "" if native is not None else self._clients.bearer()
        made = self._made
        if made is not None and made[:2] == (os.getpid(), bearer):
            return made[2]
        with self._lock:
            store = self._build(native, bearer)
            self._made = (os.getpid(), bearer, store)
            return store

    def _build(self, native: dict[str, str] | None, bearer: str) -> Any:
        from obstore.store import GCSStore

        clients = self._clients
        headers = {"accept-encoding": "gzip"}  # or the service unpacks what was stored packed
        config: dict[str, Any] = {} if clients.is_google else {"base_url": clients.endpoint}
        if native is None:
            config["skip_signature"] = True
            headers["authorization"] = f"Bearer {bearer}"
        elif "key" in native:
            config = {"service_account_key": json.dumps({**_NOBODY, "gcs_base_url": clients.endpoint})}
        else:
            config |= {"service_account": native["file"]} if "file" in native else {}
        options: dict[str, Any] = {
            "allow_http": not clients.endpoint.startswith("https://"),
            "connect_timeout": f"{CONNECT_TIMEOUT:.0f}s",
            "read_timeout": f"{clients.read_timeout:.0f}s",
            "timeout": f"{clients.read_timeout:.0f}s",  # of the whole call: SMALL bytes at 140 KB/s
            "default_headers": headers,
            "user_agent": "hugesync",
        }
        return GCSStore(self._bucket, config=config, client_options=options, retry_config={"max_retries": 0})  # type: ignore[arg-type]


_NOBODY = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}


def _translated(exc: Exception, doing: str, key: str) -> Exception:
    if isinstance(exc, (StoreError, Cancelled)):
        return exc
    answer = refusal_of_text(str(exc))
    if not answer.status:
        return Transient(f"cannot {doing}: the store could not be reached or the connection broke", key)
    body = f"<Error><Code>{answer.code}</Code></Error>" if answer.code else answer.message
    return error_of(answer.status, body, None, doing, key)
