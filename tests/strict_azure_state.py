"""An account of Azure Blob Storage as a pure state: containers, block blobs, their two block lists, conditions and limits.

No HTTP and no clock of its own: ``now`` (seconds) is a function. Not thread-safe: the server holds one lock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime

from strict_azure_checks import Refused, check_blob_name, check_block_id, check_container

MIB = 1024 * 1024
WEEK = 7 * 24 * 3600.0
BEING_DELETED = 30.0  # seconds for which a deleted container's name stays taken


@dataclass(frozen=True)
class AzureLimits:
    """Bytes and counts as of service version 2019-12-12 and later; smaller ones make a test cheap."""

    block: int = 4_000 * MIB
    put_blob: int = 5_000 * MIB  # Put Blob From URL as well
    copy_from_url: int = 256 * MIB
    blocks: int = 50_000
    uncommitted: int = 100_000
    page: int = 5_000
    committed_ids_bind: bool = (
        True  # a new block's id is of the committed ones' length, too: Microsoft leaves that open
    )


@dataclass
class Blob:
    """``content`` is None as long as blocks are staged and nothing is committed: then the blob does not exist for readers."""

    content: bytes | None = None
    committed: list[tuple[str, int]] = field(default_factory=list)  # ids and sizes; none after Put Blob
    uncommitted: dict[str, bytes] = field(default_factory=dict)
    staged_at: float = 0.0  # of the last successful Put Block
    etag: str = ""
    modified: float = 0.0
    created: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)  # content-type and its like, names in lower case
    metadata: dict[str, str] = field(default_factory=dict)
    copy: dict[str, str] = field(default_factory=dict)  # x-ms-copy-…

    @property
    def data(self) -> bytes:
        assert self.content is not None
        return self.content


@dataclass
class Container:
    etag: str
    modified: float
    metadata: dict[str, str]
    blobs: dict[str, Blob] = field(default_factory=dict)


@dataclass(frozen=True)
class Conditions:
    """The conditional headers of a request, on its target or (``source``) on what it copies from."""

    match: str | None = None
    none_match: str | None = None
    modified_since: float | None = None
    unmodified_since: float | None = None

    @staticmethod
    def of(headers: Mapping[str, str], prefix: str = "") -> Conditions:
        def date(name: str) -> float | None:
            value = headers.get(prefix + name)
            try:
                return None if value is None else parsedate_to_datetime(value).timestamp()
            except ValueError:
                raise Refused(400, "InvalidHeaderValue", HeaderName=prefix + name, HeaderValue=value or "") from None

        return Conditions(
            headers.get(prefix + "if-match"), headers.get(prefix + "if-none-match"),
            date("if-modified-since"), date("if-unmodified-since"),
        )  # fmt: skip

    def to_write(self, blob: Blob | None, *, creates: bool, code: str = "ConditionNotMet") -> None:
        """``creates``: the operation makes the blob, so a failed ``If-None-Match: *`` is 409 BlobAlreadyExists, not 412."""
        self._one_header()
        if self.none_match == "*" and blob is not None and creates:
            raise Refused(409, "BlobAlreadyExists")
        if not self._holds(blob):
            raise Refused(412, code)

    def to_read(self, blob: Blob) -> None:
        """``If-Match && If-Unmodified-Since && (If-None-Match || If-Modified-Since)``; several ETags are allowed here."""
        if self.none_match == "*":
            raise Refused(400, "UnsatisfiableCondition")
        if self.match is not None and not _any_etag(self.match, blob):
            raise Refused(412, "ConditionNotMet")
        if self.unmodified_since is not None and int(blob.modified) > self.unmodified_since:
            raise Refused(412, "ConditionNotMet")
        wanted = [not _any_etag(self.none_match, blob)] if self.none_match is not None else []
        wanted += [int(blob.modified) > self.modified_since] if self.modified_since is not None else []
        if wanted and not any(wanted):
            raise Refused(304, "ConditionNotMet")

    def of_source(self, blob: Blob) -> None:
        self._one_header()
        if not self._holds(blob):
            raise Refused(412, "SourceConditionNotMet")

    def _holds(self, blob: Blob | None) -> bool:
        if self.match is not None:
            return blob is not None and _any_etag(self.match, blob)
        if self.none_match is not None:
            return blob is None or not _any_etag(self.none_match, blob)
        if self.unmodified_since is not None:
            return blob is not None and int(blob.modified) <= self.unmodified_since
        if self.modified_since is not None:
            return blob is None or int(blob.modified) > self.modified_since
        return True

    def _one_header(self) -> None:
        """A write may name one condition, with one ETag, but for the two pairs of which the ETag decides."""
        given = (self.match, self.none_match, self.modified_since, self.unmodified_since)
        pairs = ((True, False, False, True), (False, True, True, False))
        if sum(g is not None for g in given) > 1 and tuple(g is not None for g in given) not in pairs:
            raise Refused(400, "MultipleConditionHeadersNotSupported", "Multiple condition headers are not supported.")
        for value in (self.match, self.none_match):
            if value is not None and "," in value:
                raise Refused(400, "InvalidHeaderValue", "More than one ETag in a conditional header of a write.")


def _any_etag(header: str, blob: Blob) -> bool:
    return header == "*" or blob.etag.strip('"') in {one.strip().strip('"') for one in header.split(",")}


class Account:
    """Every method raises Refused for what Azure answers with an error, and then nothing has changed."""

    def __init__(self, now: Callable[[], float], limits: AzureLimits) -> None:
        self.now, self.limits = now, limits
        self.containers: dict[str, Container] = {}
        self._deleted: dict[str, float] = {}
        self._etags = 0x8DD000000000000

    def new_etag(self) -> str:
        self._etags += 1
        return f'"0x{self._etags:X}"'

    def create_container(self, name: str, metadata: dict[str, str]) -> Container:
        check_container(name)
        if name in self.containers:
            raise Refused(409, "ContainerAlreadyExists")
        if self.now() - self._deleted.get(name, float("-inf")) < BEING_DELETED:
            raise Refused(409, "ContainerBeingDeleted")
        self.containers[name] = Container(self.new_etag(), self.now(), metadata)
        return self.containers[name]

    def delete_container(self, name: str) -> None:
        self.container(name)
        del self.containers[name]
        self._deleted[name] = self.now()

    def container(self, name: str) -> Container:
        check_container(name)
        if name not in self.containers:
            raise Refused(404, "ContainerNotFound")
        return self.containers[name]

    def entry(self, container: str, name: str) -> Blob | None:
        """The blob with whatever it has, staged blocks of more than a week ago removed."""
        blobs = self.container(container).blobs
        check_blob_name(name)
        blob = blobs.get(name)
        if blob is not None and blob.uncommitted and self.now() - blob.staged_at > WEEK:
            blob.uncommitted.clear()
            if blob.content is None:
                del blobs[name]
                return None
        return blob

    def committed(self, container: str, name: str) -> Blob | None:
        blob = self.entry(container, name)
        return blob if blob is not None and blob.content is not None else None

    def existing(self, container: str, name: str) -> Blob:
        blob = self.committed(container, name)
        if blob is None:
            raise Refused(404, "BlobNotFound")
        return blob

    def put(self, container: str, name: str, blob: Blob) -> Blob:
        """The blob's whole content is replaced, staged blocks are discarded."""
        before = self.entry(container, name)
        blob.etag, blob.modified = self.new_etag(), self.now()
        blob.created = before.created if before is not None and before.content is not None else self.now()
        self.container(container).blobs[name] = blob
        return blob

    def put_block(self, container: str, name: str, block_id: str, data: bytes) -> None:
        blob = self.entry(container, name)
        known = [] if blob is None else list(blob.uncommitted)[:1]
        known += [i for i, _ in blob.committed[:1]] if blob is not None and self.limits.committed_ids_bind else []
        check_block_id(block_id, known)
        if not data:
            raise Refused(400, "InvalidHeaderValue", HeaderName="Content-Length", HeaderValue="0")
        if len(data) > self.limits.block:
            raise Refused(413, "RequestBodyTooLarge", MaxLimit=str(self.limits.block))
        if blob is not None and block_id not in blob.uncommitted and len(blob.uncommitted) >= self.limits.uncommitted:
            raise Refused(409, "BlockCountExceedsLimit")
        if blob is None:
            blob = self.container(container).blobs[name] = Blob()
        blob.uncommitted[block_id] = data
        blob.staged_at = self.now()

    def put_block_list(
        self, container: str, name: str, wanted: list[tuple[str, str]], new: Blob, conditions: Conditions
    ) -> Blob:
        """``wanted``: ("Committed" | "Uncommitted" | "Latest", id) in order; ``new`` brings headers and metadata."""
        blob = self.entry(container, name) or Blob()
        conditions.to_write(blob if blob.content is not None else None, creates=True)
        if len(wanted) > self.limits.blocks:
            raise Refused(400, "BlockListTooLong")
        committed, offset = {}, 0
        for block_id, size in blob.committed:
            committed[block_id] = blob.data[offset : offset + size]
            offset += size
        latest = {**committed, **blob.uncommitted}
        lists = {"Committed": committed, "Uncommitted": blob.uncommitted, "Latest": latest}
        named: dict[str, str] = {}
        parts: list[bytes] = []
        for which, block_id in wanted:
            data = lists[which].get(block_id)
            if (
                data is None or named.setdefault(block_id, which) != which
            ):  # one id may be named twice, in one list only
                raise Refused(400, "InvalidBlockList")
            parts.append(data)
        new.content = b"".join(parts)
        new.committed = [(block_id, len(part)) for (_, block_id), part in zip(wanted, parts)]
        return self.put(container, name, new)

    def delete(self, container: str, name: str, conditions: Conditions) -> None:
        conditions.to_write(self.existing(container, name), creates=False)
        del self.container(container).blobs[name]

    def set_metadata(self, container: str, name: str, metadata: dict[str, str], conditions: Conditions) -> Blob:
        blob = self.existing(container, name)
        conditions.to_write(blob, creates=False)
        blob.metadata, blob.etag, blob.modified = metadata, self.new_etag(), self.now()
        return blob
