"""Asks a store everything in a folder of its own, and takes away what that made, whatever happens."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from typing import TypeVar

from hugesync_tasks.errors import HugeSyncError, NoSuchUpload, NotFound, StoreError
from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores.findings import Fact, Findings
from hugesync_tasks.stores.questions import Questions
from hugesync_tasks.stores.raw import Raw

T = TypeVar("T")
_PASSES = 3  # over what is left: a reply may have been lost, a store may list late


def scratch_folder() -> str:
    """``.hugesync/validate-<random>/``: no listing of ours shows it, and nobody else has it."""
    return f"{RESERVED_SEGMENT}/validate-{uuid.uuid4().hex[:16]}/"


def validate(raw: Raw, cleaner: Raw, server: str) -> Findings:
    """``raw`` may be ended by its token at any request; ``cleaner`` must not be, it removes. Raises what ``Questions.facts``
    does; where something stays then the error names it."""
    folder = scratch_folder()
    questions = Questions(raw, folder)
    facts: list[Fact] = []
    try:
        for fact in questions.facts():
            facts.append(fact)
    except BaseException as error:
        cleaner.keeps_versions = raw.keeps_versions
        left = clean(cleaner, folder, questions)
        raise littered(error, left) from error
    cleaner.keeps_versions = raw.keeps_versions
    return Findings(server, tuple(facts), tuple(clean(cleaner, folder, questions)))


def littered(error: BaseException, left: list[str]) -> BaseException:
    """``error``, of its own kind, and what stays behind it."""
    if not left or not isinstance(error, HugeSyncError):
        return error
    return type(error)(f"{error}; what was written could not be removed: {', '.join(left)}")


def clean(raw: Raw, folder: str, questions: Questions) -> list[str]:
    """Remove all below ``folder``; what is left, each as a person would look for it, and why."""
    troubles: dict[str, str] = {}
    for _ in range(_PASSES):
        troubles.clear()
        uploads = questions.begun | set(_listed(lambda: raw.uploads(folder), "uploads", folder, troubles))
        for key, id in sorted(uploads):
            if _try(lambda key=key, id=id: raw.abort(key, id), f"upload {id} of {key}", troubles):  # type: ignore[misc]
                questions.begun.discard((key, id))
        keys = questions.written | set(_listed(lambda: _keys(raw, folder), "objects", folder, troubles))
        for key in sorted(keys, reverse=True):
            if _try(lambda key=key: raw.delete(key), key, troubles):  # type: ignore[misc]
                questions.written.discard(key)
        if raw.keeps_versions:
            for version in _listed(lambda: raw.versions(folder), "versions", folder, troubles):
                _try(lambda v=version: raw.delete_version(v), f"version {version.id} of {version.key}", troubles)  # type: ignore[misc]
        if not troubles and not _remains(raw, folder, troubles):
            return []
    return sorted(f"{what} ({why})" if why else what for what, why in troubles.items())


def _keys(raw: Raw, folder: str) -> list[str]:
    found, next = raw.page(folder, 1000)
    while next:
        more, next = raw.page(folder, 1000, next=next)
        found += more
    return found


def _remains(raw: Raw, folder: str, troubles: dict[str, str]) -> bool:
    troubles |= dict.fromkeys(_listed(lambda: _keys(raw, folder), "objects", folder, troubles), "")
    for key, id in _listed(lambda: raw.uploads(folder), "uploads", folder, troubles):
        troubles[f"upload {id} of {key}"] = ""
    return bool(troubles)


def _listed(ask: Callable[[], Iterable[T]], what: str, folder: str, troubles: dict[str, str]) -> list[T]:
    try:
        return list(ask())
    except StoreError as error:
        troubles[f"{what} below {folder}"] = f"could not be listed: {error.message}"
        return []


def _try(call: Callable[[], None], what: str, troubles: dict[str, str]) -> bool:
    try:
        call()
    except (NotFound, NoSuchUpload):
        pass
    except StoreError as error:
        troubles[what] = error.message
        return False
    return True
