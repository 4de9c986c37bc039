"""``hugesync uploads``: what unfinished uploads left below a place, and ending it.

What is begun later than the cutoff is never touched, whatever an intent says of it: an intent lies where others may write, so it
says whose an upload may be and never what is to be aborted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from hugesync_producer import human
from hugesync_producer.aside import aside
from hugesync_producer.ends import open_end
from hugesync_tasks.config_units import parse_duration
from hugesync_tasks.errors import (
    NoSuchUpload,
    NotFound,
    Permanent,
    StoreError,
    Transient,
    Unreachable,
    UsageError,
    VersionMismatch,
)
from hugesync_tasks.model import RESERVED_SEGMENT, Entry, Upload
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stages.intents import MOST, intent_key, read_intent
from hugesync_tasks.stores.base import Store
from hugesync_tasks.token import Token
from hugesync_tasks.uri import parse_location

Claims = dict[tuple[str, str], list[Entry]]  # (key, upload id) → the intents that name it
_SUFFIX = ".upload"


@dataclass(frozen=True, slots=True)
class Open:
    """One open upload, or locally one temporary. ``age`` in seconds; ``holds``: bytes, None where the store does not tell;
    ``ours``: an intent of ours claims it (locally every temporary is ours by its name)."""

    key: str
    id: str
    age: float
    holds: int | None
    ours: bool

    def row(self) -> tuple[str, ...]:
        held = "unknown" if self.holds is None else human.size(self.holds)
        return self.key, self.id, human.duration(self.age), held, "yes" if self.ours else "no"

    def to_json(self) -> dict[str, Any]:
        age = round(self.age, 3)
        return {"key": self.key, "id": self.id, "age_seconds": age, "bytes": self.holds, "ours": self.ours}


@dataclass(frozen=True, slots=True)
class Survey:
    location: str
    uploads: list[Open]


@dataclass(slots=True)
class Aborted:
    """What was (``dry_run``: would be) done. ``intents``: deleted with their uploads or because these are gone."""

    location: str
    dry_run: bool
    uploads: list[Open] = field(default_factory=list)
    intents: int = 0
    failed: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        would = "would be " if self.dry_run else ""
        said = [sum_up(self.uploads, f"{would}aborted")]
        if self.intents:
            said.append(f"{human.counted(self.intents, 'intent')} {would}deleted")
        return said

    def to_json(self) -> dict[str, Any]:
        return {
            "location": self.location,
            "dry_run": self.dry_run,
            "aborted": [one.to_json() for one in self.uploads],
            "bytes": sum(one.holds or 0 for one in self.uploads),
            "intents_deleted": self.intents,
            "failures": self.failed,
        }


def age_of(text: str) -> float:
    """Seconds of ``--older-than``. Raises UsageError."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--older-than: {error}") from error


def sum_up(found: Iterable[Open], what: str) -> str:
    """``3 uploads aborted, 1.5 GiB in parts``."""
    all_of = list(found)
    known = [one.holds for one in all_of if one.holds is not None]
    held = f", {human.size(sum(known))} in parts" if known else ""
    return f"{human.counted(len(all_of), 'upload')} {what}{held}"


def survey(url: str, profile: str, older: float | None, clock: Callable[[], float] = time.time) -> Survey:
    """The uploads below ``url``, with ``older`` those that began so many seconds ago. Raises UsageError, Unreachable."""
    with _opened(url, profile) as (store, location):
        token, now = Token(), clock()
        found = _begun_before(store, float("inf") if older is None else now - older, token)
        folders = {_folder_of(key) for key, _, _ in found} | {f"{RESERVED_SEGMENT}/"} if found else set()
        claims = claims_of(store, (entry for f in sorted(folders) for entry in store.list_ours(token, f)), token)
        return Survey(location.display(), [_open(store, one, claims, now, token) for one in found])


def abort(url: str, profile: str, older: float, dry_run: bool, clock: Callable[[], float] = time.time) -> Aborted:
    """End those that began more than ``older`` seconds ago, and sweep intents as old whose upload is gone. What fails is in
    the result; raises UsageError and Unreachable where nothing can be looked at."""
    with _opened(url, profile) as (store, location):
        if not store.limits.abort_frees:
            raise UsageError(
                f"{location.display()}: nobody can delete the parts of an unfinished upload there; {store.limits.name} collects them "
                "itself (Azure: a week after the last one, or when somebody writes the blob)"
            )
        token, now = Token(), clock()
        done = Aborted(location.display(), dry_run)
        claims = claims_of(store, store.list_ours(token), token)
        for one in _begun_before(store, now - older, token):
            upload = Upload(one[0], one[1], "", 0, 0)
            with _counted(done, f"{one[0]}: upload {one[1]}"):
                shown = _open(store, one, claims, now, token)
                if not dry_run:
                    store.abort(upload, token)
                done.uploads.append(shown)
                for intent in claims.pop((one[0], one[1]), []):
                    _delete(store, intent, done, token)
        for (key, id), intents in claims.items():
            for intent in intents:
                if intent.modified_ns is not None and intent.modified_ns < (now - older) * 1e9:
                    with _counted(done, intent.key):
                        if _gone(store, Upload(key, id, "", 0, 0), token):
                            _delete(store, intent, done, token)
        return done


def claims_of(store: Store, ours: Iterable[Entry], token: Token) -> Claims:
    """Which uploads the intents among ``ours`` claim. What does not lie where its own words would have put it is none."""
    found: Claims = {}
    if not store.limits.intents:  # ours is then what the uploads themselves consist of
        return found
    for entry in ours:
        if not entry.key.endswith(_SUFFIX) or entry.size > MOST:
            continue
        try:
            with store.open(entry.key, entry.version, token, overhead=True) as reader:
                upload = read_intent(b"".join(reader))
        except (NotFound, VersionMismatch):
            continue  # a job at work: it is not ours to look after
        if upload is not None and intent_key(upload.key, upload.generation, store) == entry.key:
            found.setdefault((upload.key, upload.id), []).append(entry)
    return found


def _begun_before(store: Store, cutoff: float, token: Token) -> list[tuple[str, str, int]]:
    return sorted(one for one in aside(lambda: list(store.list_uploads(token))) if one[2] < cutoff * 1e9)


def _open(store: Store, one: tuple[str, str, int], claims: Claims, now: float, token: Token) -> Open:
    key, id, begun = one
    try:
        holds = store.held(Upload(key, id, "", 0, 0), token)
    except Permanent:  # it ended meanwhile, or nobody may ask
        holds = None
    ours = (key, id) in claims or not store.limits.intents
    return Open(key, id, max(0.0, now - begun / 1e9), holds, ours)


def _gone(store: Store, upload: Upload, token: Token) -> bool:
    try:
        store.held(upload, token)
    except NoSuchUpload:
        return True
    return False


def _delete(store: Store, intent: Entry, done: Aborted, token: Token) -> None:
    """Only the intent that was read: a job may have put another in its place."""
    if not done.dry_run:
        try:
            store.delete(intent.key, intent.version, token)
        except VersionMismatch:
            return
    done.intents += 1


def _folder_of(key: str) -> str:
    parent = key.rpartition("/")[0]
    return f"{parent}/{RESERVED_SEGMENT}/" if parent else f"{RESERVED_SEGMENT}/"


@contextmanager
def _counted(done: Aborted, what: str) -> Iterator[None]:
    try:
        yield
    except StoreError as error:
        done.failed.append(f"{what}: {error.message}")


@contextmanager
def _opened(url: str, profile: str) -> Iterator[tuple[Store, Location]]:
    location = parse_location(url, profile)
    store = open_end(location, None, Options(), "place")
    try:
        store.limits = store.probe(Token(), False)
        yield store, location
    except Transient as error:
        raise Unreachable(f"{location.display()}: {error}") from error
    except StoreError as error:
        raise UsageError(f"{location.display()}: {error}") from error
    finally:
        store.close()
