"""Uncommitted blocks of another program whose ids have another length: Azure then takes none of ours, for up to a week.

There is no request that deletes uncommitted blocks; a commit does. So what the blob already is is committed once more,
pinned to its version, which makes it another version of the same bytes; and where no blob is, an empty one is committed and
deleted again, each step conditional. That is the only place where something short may be seen under a final name.
"""

from __future__ import annotations

from hugesync_tasks.errors import NotFound, Permanent, VersionMismatch
from hugesync_tasks.stores.azure_blocks import is_of_our_length, list_xml
from hugesync_tasks.stores.azure_meta import PREFIX
from hugesync_tasks.stores.azure_root import AzureRoot, condition
from hugesync_tasks.stores.base import ABSENT
from hugesync_tasks.stores.s3_meta import unquoted
from hugesync_tasks.token import Token

_MARK = {f"{PREFIX}hugesync_type": "recovery"}  # what a person sees if we end between the two steps
# Put Block List replaces what it is not told again.
_KEPT = {
    "Content-Type": "x-ms-blob-content-type",
    "Content-Encoding": "x-ms-blob-content-encoding",
    "Content-Language": "x-ms-blob-content-language",
    "Content-MD5": "x-ms-blob-content-md5",
    "Cache-Control": "x-ms-blob-cache-control",
    "Content-Disposition": "x-ms-blob-content-disposition",
}


def drop_foreign_blocks(store: AzureRoot, key: str, token: Token) -> None:
    """Afterwards the blob takes blocks of ours, unless a rival was quicker, whose error then comes. Raises VersionMismatch
    where a blob was there: it is another version now, and whoever planned against it must look again."""
    token.requested("head")
    try:
        head = store._ask("HEAD", "look at it", key).headers
    except NotFound:
        _through_an_empty_blob(store, key, token)
        return
    version = unquoted(head.get("ETag"))
    listed = store._block_list(key, "all", token)
    if listed.version != version:
        raise VersionMismatch("cannot clear another program's unfinished upload: the blob is another version now", key)
    if all(is_of_our_length(one.id) for one in listed.uncommitted):
        raise Permanent(
            "the blob was put together from blocks with ids of another length by another program, and the service takes none "
            "of ours for it: delete it first",
            key,
        )
    if not listed.committed and listed.size:
        raise Permanent(
            "another program's unfinished upload is in the way, and the blob was written in one piece, so that it cannot be "
            "committed again: finish or remove that upload, or wait a week",
            key,
        )
    if int(head.get("x-ms-tag-count") or 0):
        raise Permanent(
            "another program's unfinished upload is in the way, and committing the blob again would lose its tags: "
            "finish or remove that upload, or wait a week",
            key,
        )
    headers = {name: value for name, value in head.items() if name.lower().startswith(PREFIX)}
    headers |= {sent: head[name] for name, sent in _KEPT.items() if head.get(name)}
    if head.get("x-ms-access-tier") and (head.get("x-ms-access-tier-inferred") or "").lower() != "true":
        headers["x-ms-access-tier"] = head["x-ms-access-tier"]
    _commit(store, key, [one.id for one in listed.committed], headers | condition(version), token)
    raise VersionMismatch("another program's unfinished upload was in the way; the blob was committed again", key)


def _through_an_empty_blob(store: AzureRoot, key: str, token: Token) -> None:
    version = _commit(store, key, [], _MARK | condition(ABSENT), token)
    token.requested("delete")
    store._ask("DELETE", "delete", key, headers=condition(version))


def _commit(store: AzureRoot, key: str, ids: list[str], headers: dict[str, str], token: Token) -> str:
    token.requested("complete")
    doing = "clear another program's unfinished upload"
    answer = store._ask("PUT", doing, key, query={"comp": "blocklist"}, headers=headers, body=list_xml(ids))
    return unquoted(answer.headers.get("ETag"))
