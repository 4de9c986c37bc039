"""What every call of the Google Cloud Storage adapter starts from: bucket, prefix, session, limits, and one write."""

from __future__ import annotations

from contextlib import suppress
from json import dumps
from typing import Any, Self

from hugesync_tasks.errors import BadName, Corrupted, NotFound, StoreError, Transient, VersionMismatch
from hugesync_tasks.stores.base import ANY, GIB, TIB, Body, Limits
from hugesync_tasks.stores.borrowed import borrowed
from hugesync_tasks.stores.gcs_body import RelatedBody
from hugesync_tasks.stores.gcs_client import GcsClients, segment
from hugesync_tasks.stores.gcs_meta import (
    FULL,
    base64_of,
    crc32c_of,
    crc32c_of_base64,
    version_of,
)
from hugesync_tasks.stores.gcs_small import GcsSmall
from hugesync_tasks.token import Token

GCS_LIMITS = Limits(
    "gcs",
    min_part=1,
    max_part=5 * GIB,
    max_parts=10_000,
    max_size=5 * TIB,
    max_put=5 * GIB,
    max_copy=5 * TIB,
    max_key=1024,
    part_conditional=True,
    part_copy="whole",
    copy_proof="crc32c",
    listing_has_mtime=True,
    delete_conditional=True,
)
_ACME = ".well-known/acme-challenge/"


class GcsRoot:
    """One bucket and prefix, and how to reach it."""

    def __init__(self, bucket: str, prefix: str, clients: GcsClients, limits: Limits | None) -> None:
        if prefix and not prefix.endswith("/"):
            raise ValueError("a prefix ends in '/', or `data` would match `data2/x`")
        self.bucket = bucket
        self.prefix = prefix
        self.clients = clients
        self.limits = limits or GCS_LIMITS
        self._small = GcsSmall(bucket, clients)

    def within(self, folder: str) -> Self:
        return borrowed(self, folder)

    def _whole(self, key: str) -> str:
        """The object's whole key. Raises BadName where the service cannot hold it."""
        whole = self.prefix + key
        try:
            length = len(whole.encode())
        except UnicodeEncodeError as exc:
            raise BadName("the key is no valid text", key) from exc
        if not key or length > self.limits.max_key:
            raise BadName(f"a key has 1 to {self.limits.max_key} bytes, this one {length}", key)
        if "\r" in whole or "\n" in whole:
            raise BadName("Google Cloud Storage takes no carriage return or line feed in a key", key)
        if whole in (".", "..") or whole.startswith(_ACME):
            raise BadName("Google Cloud Storage takes no such key", key)
        return whole

    def _path(self, whole: str) -> str:
        return f"/storage/v1/b/{segment(self.bucket)}/o/{segment(whole)}"

    def _ask(
        self, name: str, method: str, path: str, token: Token, doing: str, key: str, *,
        query: dict[str, str] | None = None, json: Any = None, slow: bool = False,
    ) -> dict[str, Any]:  # fmt: skip
        """One request that is answered with JSON. Raises StoreError."""
        token.requested(name)
        body = None if json is None else dumps(json, separators=(",", ":")).encode()
        headers = {} if json is None else {"Content-Type": "application/json"}
        answer = self.clients.send(method, path, doing, key, query=query, headers=headers, body=body, slow=slow)
        return decoded(answer, doing, key)

    def _resource(self, whole: str, token: Token, doing: str, key: str, name: str = "head") -> dict[str, Any]:
        """Of the object as it is now. Raises NotFound."""
        return self._ask(
            name, "GET", self._path(whole), token, doing, key, query={"fields": FULL, "projection": "noAcl"}
        )

    def _write(
        self, name: str, whole: str, body: Body, about: dict[str, Any], expected: str | None, token: Token, doing: str,
        key: str, *, overhead: bool = False, kms: str | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """One object in one request, its CRC32C sent and compared with what the store says it holds."""
        crc32c = crc32c_of(body)
        related = RelatedBody({"name": whole, "crc32c": base64_of(crc32c), **about}, body, token, overhead)
        query = {"uploadType": "multipart", "fields": FULL, **condition(expected), **kms_key(kms)}
        token.requested(name)
        path = f"/upload/storage/v1/b/{segment(self.bucket)}/o"
        answer = self.clients.send("POST", path, doing, key, query=query, headers=related.headers, body=related)
        made = decoded(answer, doing, key)
        self._check_made(made, whole, len(body), crc32c, token, doing, key)
        return made

    def _rewrite(
        self, name: str, path: str, query: dict[str, str], about: dict[str, Any], token: Token, doing: str, key: str
    ) -> dict[str, Any]:
        """A copy within the service, of any size; the resource of what was made."""
        query, far = dict(query), -1
        while True:
            answer = self._ask(name, "POST", path, token, doing, key, query=query, json=about, slow=True)
            if answer.get("done"):
                return dict(answer["resource"])
            now = int(answer.get("totalBytesRewritten", 0))
            if now <= far or not answer.get("rewriteToken"):
                raise Transient(f"cannot {doing}: the store does not go on", key)
            query["rewriteToken"], far = str(answer["rewriteToken"]), now
            token.moved(0)

    def _check_made(
        self, made: dict[str, Any], whole: str, size: int, crc32c: int | None, token: Token, doing: str, key: str
    ) -> None:
        """What was just written is what was meant, or it is taken away again. Raises Corrupted."""
        held = crc32c_of_base64(made.get("crc32c"))
        if int(made.get("size", -1)) == size and (crc32c is None or held == crc32c):
            return
        with suppress(StoreError):  # a repeat must not find our generation there and believe it
            self._ask("delete", "DELETE", self._path(whole), token, doing, key, query=condition(version_of(made)))
        raise Corrupted(f"cannot {doing}: the store holds other bytes than were sent", key)

    def _guard(self, key: str, expected: str | None, token: Token, doing: str) -> None:
        """Where the service itself does not keep the condition of copies and composes (emulators): a look just before."""
        if expected == ANY or self.limits.copy_conditional:
            return
        found = self.version_now(key, token, doing)
        if found != expected:
            raise VersionMismatch(f"cannot {doing}: the object is another version now", key)

    def version_now(self, key: str, token: Token, doing: str) -> str | None:
        try:
            return version_of(self._resource(self._whole(key), token, doing, key))
        except NotFound:
            return None

    def _delete_whole(self, whole: str, expected: str, token: Token, key: str, name: str = "delete") -> None:
        """Raises NotFound, VersionMismatch."""
        self._ask(name, "DELETE", self._path(whole), token, "delete", key, query=condition(expected))


def condition(expected: str | None) -> dict[str, str]:
    """The parameter that makes a write conditional on ``expected``."""
    if expected == ANY:
        return {}
    return {"ifGenerationMatch": "0" if expected is None else generation(expected)}


def generation(version: str) -> str:
    """A version as a generation; one that cannot be any (of another service's object) as one that nothing ever has."""
    return version if version.isascii() and version.isdecimal() and len(version) <= 18 and int(version) else "1"


def kms_key(name: str | None) -> dict[str, str]:
    return {"kmsKeyName": name} if name else {}


def decoded(answer: Any, doing: str, key: str) -> dict[str, Any]:
    """The JSON of an answer; {} of an empty one. Raises Transient."""
    if not answer.content:
        return {}
    try:
        found = answer.json()
    except ValueError as exc:
        raise Transient(f"cannot {doing}: the store's answer cannot be read", key) from exc
    return found if isinstance(found, dict) else {}
