"""Asks a store everything in a folder of its own, and takes away what that made, whatever happens."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from hugesync_tasks.errors import HugeSyncError, NoSuchUpload, NotFound, StoreError, Transient
from hugesync_tasks.model import RESERVED_SEGMENT
from hugesync_tasks.stores.findings import Fact, Findings
from hugesync_tasks.stores.questions import Questions
from hugesync_tasks.stores.raw import Raw, Version

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
    left: list[str] = []
    for _ in range(_PASSES):
        sweep = _Sweep(raw, folder)
        for key, id in sorted(questions.begun | set(sweep.uploads())):
            sweep.remove(f"upload {id} of {key}", lambda key=key, id=id: raw.abort(key, id))  # type: ignore[misc]
        for key in sorted(questions.written | set(sweep.keys()), reverse=True):
            sweep.remove(key, lambda key=key: raw.delete(key))  # type: ignore[misc]
        for version in sweep.versions():
            sweep.remove(_named(version), lambda v=version: raw.delete_version(v))  # type: ignore[misc]
        left = sweep.left()
        if not left or not sweep.worth_repeating:
            break
    return left


class _Sweep:
    """One pass over the folder. What a listing shows counts; where there is none, what could not be removed."""

    def __init__(self, raw: Raw, folder: str) -> None:
        self._raw = raw
        self._folder = folder
        self._why: dict[str, str] = {}
        self._blind: list[str] = []
        self.worth_repeating = True

    def uploads(self) -> list[tuple[str, str]]:
        return self._listed("uploads", lambda: self._raw.uploads(self._folder))

    def keys(self) -> list[str]:
        def pages() -> Iterator[str]:
            found, next = self._raw.page(self._folder, 1000)
            yield from found
            while next:
                found, next = self._raw.page(self._folder, 1000, next=next)
                yield from found

        return self._listed("objects", pages)

    def versions(self) -> list[Version]:
        return self._listed("versions", lambda: self._raw.versions(self._folder)) if self._raw.keeps_versions else []

    def remove(self, what: str, call: Callable[[], None]) -> None:
        try:
            call()
        except (NotFound, NoSuchUpload):
            pass
        except StoreError as error:
            self._why[what] = error.message
            self.worth_repeating = self.worth_repeating and isinstance(error, Transient)

    def left(self) -> list[str]:
        self._blind.clear()
        found = [*self.keys(), *(f"upload {id} of {key}" for key, id in self.uploads()), *map(_named, self.versions())]
        if self._blind:
            found = sorted({*found, *self._why})
        said = [f"{what} ({self._why[what]})" if what in self._why else what for what in found]
        return said + self._blind

    def _listed(self, what: str, ask: Callable[[], Iterable[T]]) -> list[T]:
        try:
            return list(ask())
        except StoreError as error:
            self._blind.append(f"{what} below {self._folder} (could not be listed: {error.message})")
            self.worth_repeating = self.worth_repeating and isinstance(error, Transient)
            return []


def _named(version: Version) -> str:
    return f"version {version.id} of {version.key}"
