"""What an endpoint honours, measured without leaving a blob; at most 5 requests.

1. list: one key. Is the container there, are the credentials right?
2. put: an If-Match that cannot hold, on a key that is not there. Refused for the condition?
3. part: a block with a wrong CRC64. Refused?
4. complete: an If-Match that cannot hold, with a block that does not exist. Refused for the condition?
5. part copy: Put Block From URL, of a blob that is not there. Known at all?

Where a service takes 3 or 5 all the same, a block stays that nobody sees and that goes after a week; where it takes 2 or 4,
the blob is deleted again. Microsoft's own service is taken from the table after the first question.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from hugesync_tasks.errors import (
    Corrupted,
    NeedsPerson,
    NotFound,
    Permanent,
    StoreError,
    Transient,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores.azure import AzureStore
from hugesync_tasks.stores.azure_blocks import Block, list_xml
from hugesync_tasks.stores.azure_listing import AzureListing
from hugesync_tasks.stores.azure_root import AZURE_LIMITS, base64_of, condition
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.stores.s3_checksum import crc64_of
from hugesync_tasks.token import Token

UNPROBED_LIMITS = replace(
    AZURE_LIMITS,
    conditional_commit="none",
    part_conditional=False,
    part_copy="none",
    copy_proof="",
    full_crc64=False,
)
_BODY = b"hugesync asks what this endpoint honours"
_NO_VERSION = "0x0123456789ABCDE"


def probe(store: AzureStore, token: Token, writes: bool = True) -> Limits:
    """The limits of ``store``'s endpoint. Raises what a person must mend (NoSuchBucket, BadCredentials, AccessDenied) and
    Transient."""
    AzureListing(store.clients, store.container, store.prefix, 1).page(token, "")
    if store.clients.account.is_azure:
        return AZURE_LIMITS
    limits = replace(UNPROBED_LIMITS, name="azure (emulator)", probed=True)
    return _Probe(store, token).run(limits) if writes else limits


class _Probe:
    def __init__(self, store: AzureStore, token: Token) -> None:
        self._store = store
        self._token = token
        self._key = f"{RESERVED_SEGMENT}/probe-{uuid.uuid4().hex}"

    def run(self, limits: Limits) -> Limits:
        never, key, generation = condition(_NO_VERSION), self._key, uuid.uuid4().hex
        block = Block(generation, 1, len(_BODY), crc64_of(_BODY) ^ 1)
        kind = {"x-ms-blob-type": "BlockBlob"}
        put = self._ask("put", lambda: self._put(body=_BODY, headers=kind | never))
        crc = {"x-ms-content-crc64": base64_of(crc64_of(_BODY) ^ 1)}
        part = self._ask("part", lambda: self._put({"comp": "block", "blockid": block.id()}, body=_BODY, headers=crc))
        missing = list_xml([Block(generation, 2, 1, 0).id()])
        done = self._ask("complete", lambda: self._put({"comp": "blocklist"}, body=missing, headers=never))
        copied = self._ask("part_copy", lambda: self._copy(block.id()))
        if put is None or done is None:
            with suppress(StoreError):
                self._store.delete(key, "*", self._token)
        conditional = all(isinstance(error, (VersionMismatch, NotFound)) for error in (put, done))
        checks, ranges = isinstance(part, Corrupted), not isinstance(copied, Unsupported)
        return replace(
            limits,
            conditional_commit="enforced" if conditional else "none",
            part_conditional=conditional,
            full_crc64=checks,
            part_copy="ranges" if ranges else "blocks",
            copy_proof="crc64nvme" if checks else "",
        )

    def _put(self, query: dict[str, str] | None = None, *, body: bytes | None, headers: dict[str, str]) -> None:
        self._store._ask(
            "PUT", f"try out writing below {RESERVED_SEGMENT}/", self._key, query=query, body=body, headers=headers
        )

    def _copy(self, id: str) -> None:
        source = self._store.clients.source(self._store.container, self._store._whole(f"{self._key}-not-there"))
        self._put({"comp": "block", "blockid": id}, body=None, headers=source | {"x-ms-source-range": "bytes=0-0"})

    def _ask(self, name: str, call: Callable[[], None]) -> StoreError | None:
        """What the service refused it with; what is no answer to the question is raised."""
        self._token.requested(name)
        try:
            call()
        except StoreError as error:
            answered = isinstance(error, (Permanent, Corrupted))
            if isinstance(error, NeedsPerson) or (isinstance(error, Transient) and not answered):
                raise
            return error
        return None
