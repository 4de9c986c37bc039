"""What each capability means to a person, and what HugeSync does because of the answer. Words only; ``docs/stores.md`` explains."""

from __future__ import annotations

from hugesync_tasks.stores.findings import CHECKSUMS, COMMITS, NO, UNKNOWN, YES, Fact

_REFUSED = "jobs are refused without --unsafe-no-conflict-check"
_THROUGH = "nothing is copied inside the store: bytes pass through workers"
_WORDS: dict[str, tuple[str, str, str]] = {  # what is asked; what is done when yes; when no
    "put_if_none_match": ("Put honours If-None-Match", "new small objects are written on that condition", _REFUSED),
    "put_if_match": ("Put honours If-Match", "small objects are replaced on that condition", _REFUSED),
    "complete_if_none_match": ("Complete honours If-None-Match", "new large objects appear on that condition", _REFUSED),
    "complete_if_match": ("Complete honours If-Match", "large objects are replaced on that condition", _REFUSED),
    "copy_if_none_match": ("Copy honours If-None-Match", "new objects may be copied inside the store", _THROUGH),
    "copy_if_match": ("Copy honours If-Match", "objects may be replaced by copies inside the store", _THROUGH),
    "copy_source_if_match": ("Copy honours copy-source-if-match", "copies are pinned to the version listed", _THROUGH),
    "delete_if_match": (
        "Delete honours If-Match", "deletes are conditional", "a HEAD before each conditional delete, which a rival can slip behind",
    ),
    "part_copy_source_if_match": (
        "UploadPartCopy honours copy-source-if-match", "copied ranges are pinned to the version planned",
        "the source's version is compared again before the commit",
    ),
    "part_copy_range": (
        "UploadPartCopy copies the range asked for", "deltas copy what did not change", f"no deltas to it; {_THROUGH}",
    ),
    "part_copy_crc64": (
        "UploadPartCopy answers with a CRC64NVME", "it is kept with the part", "the store proves the whole at Complete, or ranges are read back",
    ),
    "put_crc64": ("Put refuses a wrong CRC64NVME", "sent with each object, if the next two are refused too", "not believed: ETags are compared where they are MD5"),
    "part_crc64": ("UploadPart refuses a wrong CRC64NVME", "sent with each part, if all three are refused", "not believed: ETags are compared where they are MD5"),
    "complete_crc64": (
        "Complete refuses a wrong CRC64NVME of the whole", "the store proves each large object, if all three are refused", "not believed: copied ranges are read back",
    ),
    "put_md5": (
        "Put refuses a wrong Content-MD5", "the probe before each job leaves no object, whatever else is ignored",
        "the probe before each job may have to delete its object",
    ),
    "etag_is_md5": (
        "ETags of objects and parts are their MD5", "they prove bytes where no CRC64NVME does", "they prove nothing",
    ),
    "list_pages": (
        "Listings have each key once over their pages", "what is listed is believed",
        "not safe to use: files may be missed; a key that comes twice ends a job",
    ),
    "list_order": ("Order of listings", "", ""),
    "list_start_after": ("Listings begin behind a key", "used where the order is that of UTF-8", "listings are read whole and sorted on disk"),
    "list_uploads": ("Open uploads are listed", "hugesync uploads finds them", "hugesync uploads sees none"),
    "abort": ("Aborted uploads are gone", "given up uploads are aborted", "parts of given up uploads stay: set a lifecycle rule"),
    "double_slash_kept": ("A key like a//b is kept", "such keys are written", "such keys are refused"),
    "backslash_kept": ("A key like a\\b is kept", "such keys are written", "such keys are refused"),
    "file_beside_folder": ("a may stand beside a/b", "as the server's name is known to allow", "the second one is refused"),
    "rename_noreplace": ("RENAME_NOREPLACE", "new files appear only where nothing is", "guarded by link(), best effort"),
    "rename_exchange": ("RENAME_EXCHANGE", "files are replaced only if they are as planned", "compared just before the rename, best effort"),
    "reflink": ("Files share extents (reflink)", "unchanged ranges are shared", "unchanged ranges are copied by the kernel"),
    "holes": ("Files have holes", "zeros take no space", "zeros take space"),
    "fsync": ("fsync succeeds", "nothing counts as done before it", "files fail there"),
    "case_sensitive": ("a and A are two files", "both are written", "the second one is refused"),
}  # fmt: skip
_ORDERS = {
    "utf8": "listings are merged as they come",
    "segments": "by path segments: sorted on disk first",
    "utf16": "by UTF-16: sorted on disk first",
    "none": "in no order: sorted on disk first",
}


def title(name: str) -> str:
    return _WORDS[name][0]


def effect(fact: Fact) -> str:
    """What HugeSync does because of it."""
    if fact.name == "list_order":
        return _ORDERS.get(fact.answer, _unknown(fact.name))
    if fact.answer == UNKNOWN:
        return _unknown(fact.name)
    return _WORDS[fact.name][1 if fact.answer == YES else 2]


def _unknown(name: str) -> str:
    if name in (*COMMITS, *CHECKSUMS):
        return "each job asks again, and believes only what it saw"
    return "as the server's name is known to do, else not relied on"


def refusal(facts: tuple[Fact, ...]) -> list[str]:
    """What makes a store unfit for conditional commits."""
    return [title(f.name) for f in facts if f.name in COMMITS and f.answer == NO]
