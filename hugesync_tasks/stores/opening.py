"""From a job's Location to the store that everything above works with: the adapter and its wrappers, in one place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from typing import Any

from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location, Options
from hugesync_tasks.stores.base import Limits, Store
from hugesync_tasks.stores.limited import LimitedStore
from hugesync_tasks.stores.named import NamedStore
from hugesync_tasks.stores.readonly import ReadOnlyStore
from hugesync_tasks.stores.retry import RetryingStore
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.stores.throttle import ThrottledStore
from hugesync_tasks.stores.traced import TracedStore
from hugesync_tasks.tracing import active

_LIMITS = frozenset(f.name for f in fields(Limits))


@dataclass(frozen=True, slots=True)
class Opening:
    """What an adapter is built from. ``limits``: as probed by the producer, None = the adapter's own table. ``links``:
    what a local source does with symlinks (``Selection.links``). ``role`` (source, destination) is for sentences to a
    person."""

    location: Location
    limits: Limits | None
    links: str
    role: str


Opener = Callable[[Opening], Store]


def _open_local(opening: Opening) -> Store:
    from hugesync_tasks.stores.local import LocalStore

    store = LocalStore(opening.location.local, follow_links=opening.links == "follow")
    if opening.limits is not None:  # what was measured of the filesystem; all else this process sees for itself
        guard, case = opening.limits.conditional_commit, opening.limits.case_sensitive
        store.limits = replace(store.limits, conditional_commit=guard, case_sensitive=case)
    return store


def _open_s3(opening: Opening) -> Store:
    from hugesync_tasks.stores.s3 import S3Store  # the SDK is loaded only by a process that needs it
    from hugesync_tasks.stores.s3_client import FIRST_READ_TIMEOUT, READ_TIMEOUT

    location = opening.location
    return S3Store(
        location.bucket,
        location.prefix,
        profile=location.profile,
        endpoint=None,  # never from a message: each process resolves its own
        limits=opening.limits,
        read_timeout=FIRST_READ_TIMEOUT if opening.limits is None else READ_TIMEOUT,
    )


def _open_gcs(opening: Opening) -> Store:
    from hugesync_tasks.stores.gcs import GcsStore
    from hugesync_tasks.stores.gcs_client import FIRST_READ_TIMEOUT, READ_TIMEOUT
    from hugesync_tasks.stores.gcs_place import place_of

    return GcsStore(
        opening.location.bucket,
        opening.location.prefix,
        place=place_of(opening.location.profile),
        limits=opening.limits,
        read_timeout=FIRST_READ_TIMEOUT if opening.limits is None else READ_TIMEOUT,
    )


def _open_azure(opening: Opening) -> Store:
    from hugesync_tasks.stores.azure import AzureStore
    from hugesync_tasks.stores.azure_client import FIRST_READ_TIMEOUT, READ_TIMEOUT

    return AzureStore(
        opening.location.bucket,
        opening.location.prefix,
        profile=opening.location.profile,
        limits=opening.limits,
        read_timeout=FIRST_READ_TIMEOUT if opening.limits is None else READ_TIMEOUT,
    )


_OPENERS: dict[str, Opener] = {"file": _open_local, "s3": _open_s3, "gs": _open_gcs, "az": _open_azure}


def preload(scheme: str) -> None:
    """Load what stores of ``scheme`` are made of, and make none: for a process that will fork and must stay clean."""
    if scheme == "file":
        import_module("hugesync_tasks.stores.local")
    elif scheme == "s3":
        import_module("hugesync_tasks.stores.s3")
        from hugesync_tasks.stores.s3_client import preload as preload_sdk

        preload_sdk()
    elif scheme == "gs":
        import_module("hugesync_tasks.stores.gcs")
        from hugesync_tasks.stores.gcs_client import preload as preload_gcs

        preload_gcs()
    elif scheme == "az":
        import_module("hugesync_tasks.stores.azure")
        from hugesync_tasks.stores.azure_client import preload as preload_azure

        preload_azure()


def register(scheme: str, opener: Opener) -> None:
    """Serve locations of ``scheme`` by ``opener`` from now on (a plug-in's store, a test's fake)."""
    _OPENERS[scheme] = opener


def open_store(
    location: Location,
    limits: Mapping[str, Any] | None,
    options: Options,
    *,
    role: str,
    links: str = "keep",
    bytes_per_second: float | None = None,
    requests_per_second: float | None = None,
    rates: SharedRates | None = None,
    patience: float = float("inf"),
    reads_only: bool = False,
    job: str = "",
) -> Store:
    """The complete stack over ``location``; from the inside: adapter, traces, throttle, the fleet's rate, retry, so that a repeat is
    throttled too, and the one that says in errors which end (``role``: source or destination) it is.

    ``location.local`` is where a local location lies on this host; stores find their profile in this process's own files.
    ``limits``: ``Limits.wire()`` of what the producer probed; empty or None = not probed. ``rates``: this
    process's part in what a fleet keeps to when a store asks to slow down, which no mounted folder does; None = no part.
    ``patience``: seconds from a call's first failure to its last repeat. ``reads_only``: whatever would write is refused, at
    whichever end. ``job``: whose calls these are, for traces where they are wanted.
    Raises UsageError for a scheme nobody serves, and whatever the adapter raises for a profile it lacks.
    """
    opener = _OPENERS.get(location.scheme)
    if opener is None:
        served = ", ".join(sorted(_OPENERS))
        raise UsageError(f"{role} {location.display()}: no store serves {location.scheme}:// (there are {served})")
    if location.scheme == "file" and not location.local:
        raise UsageError(f"{role}: this process does not see the root {location.root!r}")
    known = Limits(**{k: v for k, v in limits.items() if k in _LIMITS}) if limits else None
    store: Store = opener(Opening(location, known, links, role))
    if job and (tracer := active()) is not None:
        store = TracedStore(store, tracer, job, role)
    if reads_only:
        store = ReadOnlyStore(store)
    if bytes_per_second is not None or requests_per_second is not None:
        store = ThrottledStore(store, bytes_per_second, requests_per_second)
    if rates is not None and location.scheme != "file":
        store = LimitedStore(store, rates, location.bucket, location.prefix)
    longest = options.retry_max_wait or float("inf")
    store = RetryingStore(store, attempts=options.retries, patience=patience, longest=longest)
    return NamedStore(store, role, location.display())
