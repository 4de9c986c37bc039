"""What ``Store.validate`` found out, and what that makes of a store's limits. Pure.

A fact is believed as it was measured. Where it and today's own probe disagree, the lower trust stands: a store that lost a
promise since is safe, and one that gained one is measured again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from hugesync_tasks.stores.base import Limits

YES, NO, UNKNOWN = "yes", "no", "unknown"
ORDERS = ("utf8", "segments", "utf16", "none")  # the answers of ``list_order``

COMMITS = ("put_if_none_match", "put_if_match", "complete_if_none_match", "complete_if_match")
COPIES = ("copy_if_none_match", "copy_if_match", "copy_source_if_match")
CHECKSUMS = ("put_crc64", "part_crc64", "complete_crc64")
KEYS = ("double_slash_kept", "backslash_kept")
OF_STORES = (
    *COMMITS, *COPIES, "delete_if_match", "part_copy_source_if_match", "part_copy_range", "part_copy_crc64", *CHECKSUMS,
    "put_md5", "etag_is_md5", "list_pages", "list_order", "list_start_after", "list_uploads", "abort", *KEYS,
    "file_beside_folder",
)  # fmt: skip
RENAMES = ("rename_noreplace", "rename_exchange")
OF_FILESYSTEMS = (*RENAMES, "reflink", "holes", "fsync", "case_sensitive")
CAPABILITIES = (*OF_STORES, *OF_FILESYSTEMS)


@dataclass(frozen=True, slots=True)
class Fact:
    """One capability. ``answer``: yes, no or unknown; of ``list_order`` one of ORDERS or unknown. ``note``: what was seen,
    where the answer does not say it all."""

    name: str
    answer: str
    note: str = ""

    @property
    def possible(self) -> bool:
        """Whether this can be a fact: what comes from a file may be anything."""
        answers = (*ORDERS, UNKNOWN) if self.name == "list_order" else (YES, NO, UNKNOWN)
        return self.name in CAPABILITIES and self.answer in answers


@dataclass(frozen=True, slots=True)
class Findings:
    """``server``: who answered, as ``Limits.name`` has it. ``left``: what could not be removed again."""

    server: str
    facts: tuple[Fact, ...]
    left: tuple[str, ...] = ()

    def answers(self) -> dict[str, str]:
        return {fact.name: fact.answer for fact in self.facts}


def applied(limits: Limits, answers: Mapping[str, str]) -> Limits:
    """``limits`` (of the table and of the job's own probe) with what was measured. Promises that the probe asks for itself
    (conditional commits, checksums, MD5 for ETags) are only ever lowered, the others become what was found."""
    changes: dict[str, object] = {}
    if _no(answers, COMMITS):
        changes["conditional_commit"] = "none"
    elif _no(answers, RENAMES) and limits.conditional_commit == "enforced":
        changes["conditional_commit"] = "best effort"
    if _no(answers, CHECKSUMS):
        changes["full_crc64"] = False
    if _no(answers, ("etag_is_md5",)):
        changes["etag_is_md5"] = False
    if _no(
        answers, ("file_beside_folder",)
    ):  # two small objects that can lie so do not prove that all can, in any order
        changes["file_and_folder"] = False
    for field, names in (
        ("copy_conditional", COPIES),
        ("part_conditional", ("copy_source_if_match", "part_copy_source_if_match")),
        ("delete_conditional", ("delete_if_match",)),
        ("case_sensitive", ("case_sensitive",)),
    ):
        found = _all(answers, names)
        if found is not None:
            changes[field] = found
    if _no(
        answers, ("part_copy_range",)
    ):  # a yes raises nothing: a provider may state that it copies none, a store less
        changes["part_copy"] = "none"
    kept = _all(answers, KEYS)
    if kept is not None:
        changes["folds"] = not kept
    order = answers.get("list_order", UNKNOWN)
    if order in ORDERS:  # a listing that cannot be begun in the middle is read whole and sorted, whatever its order
        changes["list_order"] = order if answers.get("list_start_after") == YES else "none"
    return replace(limits, **changes)  # type: ignore[arg-type]


def _no(answers: Mapping[str, str], names: tuple[str, ...]) -> bool:
    return any(answers.get(name) == NO for name in names)


def _all(answers: Mapping[str, str], names: tuple[str, ...]) -> bool | None:
    """True where all were shown, False where one was disproved, None where that is not known."""
    if _no(answers, names):
        return False
    return True if all(answers.get(name) == YES for name in names) else None
