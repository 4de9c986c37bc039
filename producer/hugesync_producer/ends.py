"""The two ends of a job: from what the user typed to locations that every worker can find, and stores that answered."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from hugesync_producer.aside import aside
from hugesync_tasks import names
from hugesync_tasks.errors import NotFound, Refused, StoreError, Transient, Unreachable, UsageError
from hugesync_tasks.model import LINK_SUFFIX, Kind
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stores.base import Limits, Store
from hugesync_tasks.stores.opening import open_store
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.token import Meter, Token
from hugesync_tasks.uri import Overlap, names_folder, overlap, parse_location

_LIES = {Overlap.EQUAL: "is the same place as", Overlap.INSIDE: "lies inside", Overlap.CONTAINS: "contains"}


PATIENCE = 60.0  # seconds that a listing is tried again: with a silent store's time-out before and after it two to three minutes


@dataclass(frozen=True, slots=True)
class Ends:
    """``single_source`` and ``single_dest``: the keys of a single file at either end; "" for a tree."""

    source: Location
    dest: Location
    single_source: str = ""
    single_dest: str = ""


def resolve(
    source: str,
    dest: str,
    source_profile: str,
    dest_profile: str,
    options: Options,
    meter: Meter,
    links: str = "keep",
    rates: SharedRates | None = None,
) -> Ends:
    """Parse and check both. A directory or prefix mirrors its contents; a single file goes to DEST itself, or into DEST when
    that ends in ``/`` or is a folder.

    Raises UsageError (bad or missing), Refused (source equal to, inside or containing the destination), Unreachable.
    """
    a, b = parse_location(source, source_profile), parse_location(dest, dest_profile)
    a, b = _with_endpoint(a, options), _with_endpoint(b, options)
    name = _single_name(source, a, options, meter, links, rates)
    if name is None:
        how = overlap(a, b)
        if how is not Overlap.NONE:
            raise Refused(f"{a.display()} {_LIES[how]} {b.display()}: source and destination must lie apart")
        _can_be_folder(dest, b)
        return Ends(a, b)
    if names_folder(dest) or _is_folder(b):
        target, folder = name, b
    else:
        folder, target = _parent(b)
        if name.endswith(LINK_SUFFIX):  # a link is a link under its new name, too
            target += LINK_SUFFIX
    source_folder, _ = _parent(a)
    if overlap(source_folder, folder) is Overlap.EQUAL and name == target:
        raise Refused(f"{a.display().rstrip('/')} and the destination are the same file")
    return Ends(source_folder, folder, name, target)


def resolve_source(
    source: str, profile: str, options: Options, meter: Meter, links: str = "keep", rates: SharedRates | None = None
) -> tuple[Location, str]:
    """SOURCE alone: the folder or prefix to list, and of a single file its key in there ("" for a tree). Raises as
    ``resolve``."""
    location = _with_endpoint(parse_location(source, profile), options)
    name = _single_name(source, location, options, meter, links, rates)
    return (location, "") if name is None else (_parent(location)[0], name)


def open_end(
    location: Location,
    limits: Mapping[str, Any] | None,
    options: Options,
    role: str,
    links: str = "keep",
    rates: SharedRates | None = None,
    reads_only: bool = False,
    job: str = "",
) -> Store:
    """The stack for the producer's own use (listing, first contact)."""
    return open_store(
        location, limits, options, role=role, links=links, rates=rates, patience=PATIENCE, reads_only=reads_only,
        job=job,
    )  # fmt: skip


def measured(store: Store, location: Location, writes: bool, meter: Meter) -> Limits:
    """What the end can do. Raises Unreachable, UsageError (no such bucket, wrong credentials)."""
    try:
        return aside(lambda: store.probe(Token(meter), writes))
    except Transient as error:
        raise Unreachable(f"{location.display()} at {location.endpoint}: {error}") from error
    except StoreError as error:
        raise UsageError(f"{location.display()}: {error}") from error


def as_roots(ends: Ends) -> tuple[Location, Location]:
    """Each local end as a root of its own: the embedded worker is given both. A fleet names them (``roots.placed``)."""
    return tuple(  # type: ignore[return-value]
        replace(end, root=name, path="") if end.scheme == "file" else end
        for end, name in ((ends.source, "source"), (ends.dest, "dest"))
    )


def _with_endpoint(location: Location, options: Options) -> Location:
    store = open_end(location, None, options, "location")
    try:
        return replace(location, endpoint=store.endpoint)
    except StoreError as error:
        raise UsageError(f"{location.display()}: {error}") from error
    finally:
        store.close()


def _single_name(
    text: str, location: Location, options: Options, meter: Meter, links: str, rates: SharedRates | None
) -> str | None:
    """The last segment's key form if SOURCE is one file; None for a folder or prefix."""
    if location.scheme == "file":
        if os.path.isdir(location.local):
            return None
        if not os.path.lexists(location.local):
            raise UsageError(f"{text}: no such file or folder")
        if names_folder(text):
            raise UsageError(f"{text}: not a folder")
        name = names.encode_name(os.fsencode(os.path.basename(location.local)))
        link = os.path.islink(location.local) and links != "follow"
        if os.path.islink(location.local) and not link and not os.path.exists(location.local):
            raise UsageError(f"{text}: the link points nowhere, so there is nothing to follow")
        if not link and not os.path.isfile(location.local):
            raise UsageError(f"{text}: neither a file nor a folder")
        return name + LINK_SUFFIX if link else name
    if names_folder(text) or not location.prefix:
        return None
    folder, name = _parent(location)
    store = open_end(folder, None, replace(options, retries=1), "source", rates=rates)
    try:
        head = aside(lambda: store.head(name, Token(meter)))
    except NotFound:
        return None
    except Transient as error:
        raise Unreachable(f"{text} at {location.endpoint}: {error}") from error
    except StoreError as error:
        raise UsageError(f"{text}: {error}") from error
    finally:
        store.close()
    return name if head is not None and head.entry.kind in (Kind.FILE, Kind.LINK) else None


def _parent(location: Location) -> tuple[Location, str]:
    """The folder (or prefix) above, and the last segment as a key."""
    if location.scheme == "file":
        folder, name = os.path.split(location.local)
        return replace(location, local=folder), names.encode_name(os.fsencode(name))
    prefix, _, name = location.prefix.rstrip("/").rpartition("/")
    return replace(location, prefix=prefix + "/" if prefix else ""), name


def _can_be_folder(text: str, location: Location) -> None:
    """Raises UsageError where a file stands in the way of a local destination, itself or further up."""
    path = location.local
    while path and not os.path.lexists(path):
        path = os.path.dirname(path)
    if path and not os.path.isdir(path):
        raise UsageError(f"{text}: {path} is there and is not a folder")


def _is_folder(location: Location) -> bool:
    return os.path.isdir(location.local) if location.scheme == "file" else not location.prefix
