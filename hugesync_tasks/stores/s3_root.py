"""What every call of the S3 adapter starts from: bucket, prefix, clients, limits, and the whole key of a key."""

from __future__ import annotations

from typing import Any, Self

from hugesync_tasks.errors import BadName, Unsupported
from hugesync_tasks.model import Meta
from hugesync_tasks.names import folded
from hugesync_tasks.stores.base import ANY, Limits, Store
from hugesync_tasks.stores.borrowed import borrowed
from hugesync_tasks.stores.s3_client import S3Clients
from hugesync_tasks.stores.s3_dialects import AWS_LIMITS, UNPROBED_LIMITS
from hugesync_tasks.stores.s3_meta import quoted, user_metadata
from hugesync_tasks.stores.s3_small import S3Small
from hugesync_tasks.stores.wrapper import innermost


class S3Root:
    """One bucket and prefix, and how to reach it."""

    def __init__(self, bucket: str, prefix: str, clients: S3Clients, limits: Limits | None) -> None:
        if prefix and not prefix.endswith("/"):
            raise ValueError("a prefix ends in '/', or `data` would match `data2/x`")
        self.bucket = bucket
        self.prefix = prefix
        self.clients = clients
        self._limits = limits
        self._small_store: S3Small | None = None

    @property
    def limits(self) -> Limits:
        if self._limits is None:
            self._limits = AWS_LIMITS if self.clients.is_aws else UNPROBED_LIMITS
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits, self._small_store = limits, None

    @property
    def _small(self) -> S3Small:
        if self._small_store is None:
            self._small_store = S3Small(self.bucket, self.clients, self.limits.full_crc64)
        return self._small_store

    def within(self, folder: str) -> Self:
        return borrowed(self, folder)

    def _whole(self, key: str) -> str:
        """The object's whole key. Raises BadName where this store cannot hold it, or would fold it into another's."""
        whole = self.prefix + key
        try:
            length = len(whole.encode())
        except UnicodeEncodeError as exc:
            raise BadName("the key is no valid text", key) from exc
        limits = self.limits
        segments = whole.removesuffix("/").split("/")
        if not key or length > limits.max_key:
            raise BadName(f"a key has 1 to {limits.max_key} bytes, this one {length}", key)
        if limits.max_segment and any(len(s.encode()) > limits.max_segment for s in segments):
            raise BadName(f"between two slashes a key may have {limits.max_segment} bytes", key)
        if limits.folds and (why := folded(whole)):
            raise BadName(f"{why}, and {limits.name} would keep it under another name", key)
        return whole

    def _attributes(self, meta: Meta) -> dict[str, Any]:
        """What Put, Copy and Create take of ``meta``."""
        more: dict[str, Any] = {"Metadata": user_metadata(meta)}
        if meta.content_type:
            more["ContentType"] = meta.content_type
        if meta.storage_class:
            more["StorageClass"] = meta.storage_class
        if meta.sse_kms_key:
            more |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": meta.sse_kms_key}
        return more

    def _copy_source(self, source: Store, source_key: str, source_version: str, source_id: str = "") -> dict[str, Any]:
        """Where a server-side copy takes its bytes, pinned to the version. Some servers (Ceph) ignore the condition; of a bucket
        that keeps versions the id is the version itself."""
        other = innermost(source)
        if not isinstance(other, S3Root):
            raise Unsupported("cannot copy within the service: the source is another kind of store", source_key)
        at = {"Bucket": other.bucket, "Key": other._whole(source_key)} | ({"VersionId": source_id} if source_id else {})
        named: dict[str, Any] = {"CopySource": at}
        return named | ({"CopySourceIfMatch": quoted(source_version)} if source_version else {})


def condition(expected: str | None) -> dict[str, str]:
    """The header that makes a write conditional on ``expected``."""
    if expected is None:
        return {"IfNoneMatch": "*"}
    return {} if expected == ANY else {"IfMatch": quoted(expected)}
