"""The keywords of the library's call: every field of ``Rules``, ``Selection`` and ``Options`` by its own name, typed.

A test holds this table to those classes, so that a new field is a keyword at once and none is misspelt.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypedDict

from hugesync_tasks.config import Settings
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Options, Rules, Selection


class Keywords(TypedDict, total=False):
    """Sizes in bytes, times in seconds but for ``modify_window_ns``. The meaning of each is in ``hugesync_tasks.spec``."""

    # what is transferred
    modify_window_ns: int
    size_only: bool
    checksum: bool
    update: bool
    ignore_existing: bool
    existing: bool
    ignore_times: bool
    # what takes part
    filters: tuple[tuple[str, str], ...]
    min_size: int | None
    max_size: int | None
    links: str
    # how it is done
    jobs: int
    metadata: bool
    owner: bool
    dir_metadata: bool
    storage_class: str | None
    sse_kms_key: str | None
    retries: int
    max_duration: float
    retry_max_wait: float
    conflict_retries: int
    on_conflict: str
    unsafe_no_conflict_check: bool
    memory: int
    small_file: int
    batch_files: int
    batch_bytes: int
    part_size: int
    stall_timeout: float
    start_timeout: float
    bwlimit: int
    whole_file: bool | None
    delta_threshold: int
    block_size: int
    signature_missing: str
    sidecars: bool
    sidecar_prefix: str
    inplace: bool
    estimate: bool
    delete: bool
    delete_excluded: bool
    max_delete: str
    backup_dir: str
    verify: str


NO_KEYWORDS = frozenset({"listed"})  # filled in from ``files_from``
_WORDS = {
    "links": ("keep", "follow", "skip"),
    "on_conflict": ("retry", "skip", "keep-both", "fail"),
    "signature_missing": ("auto", "generate", "full"),
    "verify": ("none", "transferred", "all"),
}


def of_settings(settings: Settings) -> Options:
    """What the configuration says of how work is done; the rest at its default."""
    known = {f.name for f in fields(Options)} & set(Settings.model_fields)
    return Options(**{name: getattr(settings, name) for name in known})


def values(
    settings: Settings, rules: Rules | None, selection: Selection | None, options: Options | None, given: Keywords
) -> tuple[Rules, Selection, Options]:
    """The values that a job is made of: those that were given whole, or the defaults (of ``options`` the configuration's), with
    each keyword in its place. Raises TypeError for a keyword that there is none of, UsageError for a word that one cannot be."""
    window = Rules(modify_window_ns=round(settings.modify_window * 1_000_000_000))
    whole: list[Any] = [rules or window, selection or Selection(), options or of_settings(settings)]
    names = [{f.name for f in fields(value)} - NO_KEYWORDS for value in whole]
    unknown = set(given) - set().union(*names)
    if unknown:
        raise TypeError(f"sync() got an unexpected keyword argument {min(unknown)!r}")
    for name, words in _WORDS.items():
        if name in given and given[name] not in words:  # type: ignore[literal-required]
            raise UsageError(f"{name} is one of {', '.join(words)}, not {given[name]!r}")  # type: ignore[literal-required]
    made = [replace(v, **{n: x for n, x in given.items() if n in own}) for v, own in zip(whole, names, strict=True)]
    return made[0], made[1], made[2]
