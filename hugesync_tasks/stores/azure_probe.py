"""What an endpoint honours, measured on one blob below ``.hugesync/`` that is gone afterwards; at most 14 requests.

1. list: one key. Is the container there, are the credentials right?
2. put: the blob; and once more as if it were not there, and over a version that nothing ever has. Refused for the condition?
3. complete: an empty list under the same two conditions.
4. part: a block with a wrong CRC64. Refused?
5. copy, onto itself: under the same two conditions, and to elsewhere of a version that the source does not have.
6. part copy: Put Block From URL, of a version that the source does not have. Known at all, and refused?
7. delete: a version that it does not have. Refused?

Microsoft's own service is taken from the table after the first question.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hugesync_tasks.errors import (
    Corrupted,
    Permanent,
    StoreError,
    Unsupported,
    VersionMismatch,
)
from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores.azure import AzureStore
from hugesync_tasks.stores.azure_blocks import Block, list_xml
from hugesync_tasks.stores.azure_listing import AzureListing
from hugesync_tasks.stores.azure_root import AZURE_LIMITS, base64_of, condition
from hugesync_tasks.stores.base import ABSENT, Limits
from hugesync_tasks.stores.s3_checksum import crc64_of
from hugesync_tasks.stores.s3_meta import quoted
from hugesync_tasks.token import Token

UNPROBED_LIMITS = replace(
    AZURE_LIMITS,
    conditional_commit="none",
    part_conditional=False,
    copy_conditional=False,
    delete_conditional=False,
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
        self._to = f"{self._key}-to"

    def run(self, limits: Limits) -> Limits:
        try:
            return self._measured(limits)
        finally:
            for key in (self._key, self._to):
                with suppress(StoreError):
                    self._request("delete", "DELETE", key)

    def _measured(self, limits: Limits) -> Limits:
        absent, never, key = condition(ABSENT), condition(_NO_VERSION), self._key
        kind = {"x-ms-blob-type": "BlockBlob"}
        self._request("put", "PUT", key, headers=kind | absent, body=_BODY)
        source = self._store.clients.source(self._store.container, self._store._whole(key))
        other = {"x-ms-source-if-match": quoted(_NO_VERSION)}
        copy = source | {"x-ms-requires-sync": "true"}
        crc64 = crc64_of(_BODY) ^ 1
        block = {"comp": "block", "blockid": Block(uuid.uuid4().hex, 1, len(_BODY), crc64).id()}

        put = all(self._kept("put", "PUT", key, headers=kind | one, body=_BODY) for one in (absent, never))
        query, nothing = {"comp": "blocklist"}, list_xml([])
        done = all(self._kept("complete", "PUT", key, query=query, headers=one, body=nothing) for one in (absent, never))  # fmt: skip
        headers = {"x-ms-content-crc64": base64_of(crc64)}
        part = self._refusal("part", "PUT", key, query=block, headers=headers, body=_BODY)
        copied = all(self._kept("put", "PUT", key, headers=copy | one) for one in (absent, never))
        pinned = self._kept("put", "PUT", self._to, headers=copy | other)
        headers = source | other | {"x-ms-source-range": "bytes=0-0"}
        ranged = self._refusal("part_copy", "PUT", key, query=block, headers=headers)
        deleted = self._kept("delete", "DELETE", key, headers=never)
        if part is None or ranged is None:  # a put collects blocks that should not be there
            with suppress(StoreError):
                self._request("put", "PUT", key, headers=kind, body=_BODY)

        checks, ranges = isinstance(part, Corrupted), not isinstance(ranged, Unsupported)
        return replace(
            limits,
            conditional_commit="enforced" if put and done else "none",
            copy_conditional=copied and pinned,
            part_conditional=pinned and (isinstance(ranged, VersionMismatch) or not ranges),
            delete_conditional=deleted,
            full_crc64=checks,
            part_copy="ranges" if ranges else "blocks",
            copy_proof="crc64nvme" if checks else "",
        )

    def _request(
        self, name: str, method: str, key: str, *, query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None, body: bytes | None = None,
    ) -> None:  # fmt: skip
        self._token.requested(name)
        self._token.sent(len(body or b""), overhead=True)
        doing = f"try out writing below {RESERVED_SEGMENT}/"
        self._store._ask(method, doing, key, query=query, headers=headers, body=body)

    def _refusal(self, name: str, method: str, key: str, **more: Any) -> StoreError | None:
        """What the service refused it with; what is no answer to the question is raised."""
        try:
            self._request(name, method, key, **more)
        except StoreError as error:
            if not isinstance(error, (Permanent, Corrupted)):
                raise
            return error
        return None

    def _kept(self, name: str, method: str, key: str, **more: Any) -> bool:
        """Whether a condition that does not hold was seen. Refusing it in another way is no proof."""
        return isinstance(self._refusal(name, method, key, **more), VersionMismatch)
