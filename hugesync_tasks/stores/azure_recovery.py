"""Uncommitted blocks of another program whose ids have another length: Azure then takes none of ours, for up to a week.

There is no request that deletes uncommitted blocks; a commit does. So what the blob already is is committed once more,
pinned to its version, which makes it another version of the same bytes; and where no blob is, one of the foreign blocks is
committed, marked, and deleted again. That is the only place where something short may be seen under a final name.

The parts of one upload are refused together and each comes here, maybe from another machine, so no step may take away what
a quicker one has staged since: the commit over a blob holds only for the version that was looked at, and the one where no
blob is names a foreign block, which is refused where the quicker one has collected it. An empty list would not be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeVar

from hugesync_tasks.errors import Disturbed, NotFound, Permanent, VersionMismatch
from hugesync_tasks.stores.azure_blocks import is_of_our_length, list_xml, ours
from hugesync_tasks.stores.azure_errors import BlocksGone, ForeignBlocks
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


T = TypeVar("T")


def with_room(store: AzureRoot, key: str, generation: str, token: Token, send: Callable[[], T]) -> T:
    """What ``send``, which stages a block of the upload ``generation``, gives, after foreign blocks were cleared away where they
    kept it out. Raises Disturbed where a blob was there, which then is another version; Permanent where nothing helps."""
    for _ in range(2):  # twice, for a quicker part may be in the midst of it
        try:
            return send()
        except ForeignBlocks:
            if not _cleared(store, key, generation, token):
                break
    try:
        return send()
    except ForeignBlocks:
        _refuse_for_good(store, key, token)
        raise


def _cleared(store: AzureRoot, key: str, generation: str, token: Token) -> bool:
    """Whether anything foreign was found, which is gone now by our hand or a quicker one's. Raises Disturbed, Permanent."""
    try:
        listed = store._block_list(key, "all", token)
    except NotFound:
        return False
    if ours(listed.uncommitted, generation):  # never to be flushed: somebody has made room since we were refused
        return False
    foreign = sorted((one.size, one.id) for one in listed.uncommitted if not is_of_our_length(one.id))
    token.requested("head")
    try:
        head = store._ask("HEAD", "look at it", key).headers
    except NotFound:
        if foreign:
            _through_a_marked_blob(store, key, foreign[0][1], token)
        return bool(foreign)
    version = unquoted(head.get("ETag"))
    if all(
        head.get(name) == value for name, value in _MARK.items()
    ):  # of a quicker part, or of one that ended half way
        _delete(store, key, version, token)
        return True
    if not foreign:
        return False
    if listed.version == version:
        _commit_again(store, key, [one.id for one in listed.committed], listed.size, head, token)
    return True  # somebody has written it since, which collected them


def _commit_again(store: AzureRoot, key: str, ids: list[str], size: int, head: Mapping[str, str], token: Token) -> None:
    if not ids and size:
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
    try:
        _commit(store, key, ids, headers | condition(unquoted(head.get("ETag"))), token)
    except VersionMismatch:  # a quicker one; were it a rival, our own commit is refused for that later
        return
    raise Disturbed("another program's unfinished upload was in the way; the blob was committed again", key)


def _through_a_marked_blob(store: AzureRoot, key: str, foreign: str, token: Token) -> None:
    """A part of ours that comes for the first time between the two steps is lost where the service takes it then; the commit of
    its upload is refused for that, and it is sent again."""
    try:
        version = _commit(store, key, [foreign], _MARK | condition(ABSENT), token)
    except (BlocksGone, VersionMismatch):  # a quicker one
        return
    _delete(store, key, version, token)


def _delete(store: AzureRoot, key: str, version: str, token: Token) -> None:
    token.requested("delete")
    with suppress(NotFound, VersionMismatch):  # a quicker one
        store._ask("DELETE", "delete", key, headers=condition(version))


def _refuse_for_good(store: AzureRoot, key: str, token: Token) -> None:
    """Raises Permanent where what keeps ours out is the blob itself, and not blocks that somebody stages meanwhile."""
    with suppress(NotFound):
        listed = store._block_list(key, "all", token)
        if any(not is_of_our_length(one.id) for one in listed.committed):
            raise Permanent(
                "the blob was put together from blocks with ids of another length by another program, and the service takes "
                "none of ours for it: delete it first",
                key,
            )


def _commit(store: AzureRoot, key: str, ids: list[str], headers: dict[str, str], token: Token) -> str:
    token.requested("complete")
    doing = "clear another program's unfinished upload"
    answer = store._ask("PUT", doing, key, query={"comp": "blocklist"}, headers=headers, body=list_xml(ids))
    return unquoted(answer.headers.get("ETag"))
