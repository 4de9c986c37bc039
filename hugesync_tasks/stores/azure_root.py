"""What every call of the Azure adapter starts from: container, prefix, requests, limits, and the whole key of a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from hugesync_tasks.errors import BadName, Unsupported
from hugesync_tasks.model import Meta
from hugesync_tasks.stores.azure_blocks import BlockList, blocks_of
from hugesync_tasks.stores.azure_client import Answered, Ask, AzureClients
from hugesync_tasks.stores.azure_meta import PREFIX, metadata
from hugesync_tasks.stores.base import ANY, MIB, Limits
from hugesync_tasks.stores.borrowed import borrowed
from hugesync_tasks.stores.paced_body import PacedBody
from hugesync_tasks.stores.s3_checksum import crc64_of
from hugesync_tasks.stores.s3_meta import quoted, unquoted
from hugesync_tasks.token import Token

MAX_SEGMENTS = 254  # between slashes, of one key
MAX_CHARACTERS = 1024  # of a key, as UTF-16 counts them

# Microsoft's own service, by its documentation: 50,000 blocks of 4,000 MiB, 5,000 MiB in one Put Blob, 256 MiB in one
# synchronous copy, keys of 1,024 characters.
AZURE_LIMITS = Limits(
    "azure",
    min_part=1,
    max_part=4000 * MIB,
    max_parts=50_000,
    kms_keys=False,
    max_size=50_000 * 4000 * MIB,
    max_put=5000 * MIB,
    max_copy=256 * MIB,
    max_key=MAX_CHARACTERS,  # bytes, by which jobs plan: never more than Azure takes, though it would take more of a key that is not ASCII
    list_order="utf16",
    part_conditional=True,
    part_copy="ranges",
    copy_proof="crc64nvme",
    full_crc64=True,
    listing_has_mtime=True,
    delete_conditional=True,
    abort_frees=False,
)


class AzureRoot:
    """One container and prefix, and how to reach it."""

    def __init__(self, container: str, prefix: str, clients: AzureClients, limits: Limits | None) -> None:
        if prefix and not prefix.endswith("/"):
            raise ValueError("a prefix ends in '/', or `data` would match `data2/x`")
        self.container = container
        self.prefix = prefix
        self.clients = clients
        self._limits = limits

    @property
    def limits(self) -> Limits:
        if self._limits is None:
            from hugesync_tasks.stores.azure_probe import UNPROBED_LIMITS

            self._limits = AZURE_LIMITS if self.clients.account.is_azure else UNPROBED_LIMITS
        return self._limits

    @limits.setter
    def limits(self, limits: Limits) -> None:
        self._limits = limits

    def within(self, folder: str) -> Self:
        return borrowed(self, folder)

    def _whole(self, key: str) -> str:
        """The blob's whole key. Raises BadName where Azure cannot hold it, or may fold it into another's; ``a//b`` it keeps."""
        whole = self.prefix + key
        try:
            length = len(whole.encode("utf-16-le")) // 2
        except UnicodeEncodeError as exc:
            raise BadName("the key is no valid text", key) from exc
        segments = whole.removesuffix("/").split("/")
        if not key or length > MAX_CHARACTERS:
            raise BadName(f"a key has 1 to {MAX_CHARACTERS} characters, this one {length}", key)
        if len(segments) > MAX_SEGMENTS:
            raise BadName(f"a key has at most {MAX_SEGMENTS} segments, this one {len(segments)}", key)
        if any(c < " " or "\x7f" <= c <= "\x9f" for c in whole):
            raise BadName("bad name: it contains a control character, which Azure takes in no name", key)
        if "\\" in whole or any(s.endswith(".") for s in segments):
            why = "a backslash" if "\\" in whole else "a segment that ends in a dot"
            raise BadName(f"bad name: it contains {why}, and Azure may keep it under another name", key)
        return whole

    def _ask(
        self,
        method: str,
        doing: str,
        key: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | PacedBody | None = None,
        stream: bool = False,
        slow: bool = False,
    ) -> Answered:
        ask = Ask(method, self.container, self._whole(key), query or {}, headers or {}, body, stream, slow)
        return self.clients.ask(ask, doing, key)

    def _attributes(self, meta: Meta) -> dict[str, str]:
        """The headers that write ``meta``. Raises Unsupported for what only other services have."""
        if meta.sse_kms_key:
            raise Unsupported("Azure takes no key of a key service with a request; set an encryption scope there")
        headers = {PREFIX + name: value for name, value in metadata(meta).items()}
        if meta.content_type:
            headers["x-ms-blob-content-type"] = meta.content_type
        if meta.storage_class:
            headers["x-ms-access-tier"] = meta.storage_class
        return headers

    def _block_list(self, key: str, which: str, token: Token) -> BlockList:
        """``which``: committed, uncommitted or all. Raises NotFound where there is neither a blob nor a block."""
        token.requested("list")
        answer = self._ask("GET", "list the blocks", key, query={"comp": "blocklist", "blocklisttype": which})
        size = answer.headers.get("x-ms-blob-content-length") or "0"
        return blocks_of(answer.xml("list the blocks"), unquoted(answer.headers.get("ETag")), int(size))


def condition(expected: str | None) -> dict[str, str]:
    """The header that makes a write conditional on ``expected``."""
    if expected is None:
        return {"If-None-Match": "*"}
    return {} if expected == ANY else {"If-Match": quoted(expected)}


def checksum(body: Any) -> str:
    """As in ``x-ms-content-crc64``. Azure's CRC64 is CRC64NVME (measured against Microsoft's own azure-storage-extensions),
    its eight bytes little-endian, where S3 has them big-endian."""
    return base64_of(crc64_of(body))


def base64_of(crc64: int) -> str:
    import base64

    return base64.b64encode(crc64.to_bytes(8, "little")).decode()


def crc64_of_base64(text: str | None) -> int | None:
    """The inverse; None where the service gave none, or no such thing."""
    import base64
    import binascii

    try:
        raw = base64.b64decode(text or "", validate=True)
    except binascii.Error:
        return None
    return int.from_bytes(raw, "little") if len(raw) == 8 else None
