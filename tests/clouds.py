"""The strict fakes of Google Cloud Storage and Azure Blob as one side of a test: the product's own openers reach them, and what
lies there is seen past every client."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import pytest

from conftest import azure_environment, only_google_of
from hugesync_tasks.signature.blocks import MIN_BLOCK
from hugesync_tasks.spec import Location
from hugesync_tasks.stores import opening
from hugesync_tasks.stores.azure_root import AZURE_LIMITS
from hugesync_tasks.stores.base import Limits, Store
from hugesync_tasks.stores.gcs_root import GCS_LIMITS
from strict_azure import AzureLimits, StrictAzure
from strict_gcs import StrictGcs

Faults = Callable[[str, str, Mapping[str, str]], Any]
BUCKETS = ("one", "two")
PART = 4 * MIN_BLOCK
WIDTH = 3  # sources of a compose, so that few parts make a tree


@dataclass(frozen=True)
class Found:
    """An object: its bytes, and the version as the product names it."""

    body: bytes
    etag: str


class Cloud(Protocol):
    """One service with the buckets ``BUCKETS``."""

    def open(self, location: Location, limits: Limits | None = None) -> Store:
        """By the product's own opener."""
        ...

    def found(self, bucket: str) -> dict[str, Found]:
        """Every object by its whole key."""
        ...

    def staged(self) -> list[str]:
        """What of an upload lies beside the objects."""
        ...

    def fail(self, faults: Faults) -> None: ...
    def close(self) -> None: ...


class Gcs:
    limits = replace(GCS_LIMITS, max_part=2 * PART, probed=True)

    def __init__(self, environment: pytest.MonkeyPatch, page: int = 7) -> None:
        self.served = StrictGcs(BUCKETS, page_size=page)
        only_google_of(self.served.env, environment)

    def open(self, location: Location, limits: Limits | None = None) -> Store:
        store: Any = opening._OPENERS["gs"](opening.Opening(location, limits or self.limits, "keep", ""))
        store._narrowed = partial(store._narrowed, width=WIDTH)
        return store  # type: ignore[no-any-return]

    def found(self, bucket: str) -> dict[str, Found]:
        return {name: Found(v.data, str(v.generation)) for name, v in self.served.objects(bucket).items()}

    def staged(self) -> list[str]:
        return []  # objects, among the others

    def fail(self, faults: Faults) -> None:
        self.served.faults = faults

    def close(self) -> None:
        self.served.close()


class Azure:
    limits = replace(AZURE_LIMITS, max_part=2 * PART, max_copy=3 * PART, probed=True)

    def __init__(self, environment: pytest.MonkeyPatch, page: int = 7) -> None:
        self.served = StrictAzure(limits=AzureLimits(page=page))
        azure_environment(environment, self.served.env)
        for name in BUCKETS:
            self.served.create_container(name)

    def open(self, location: Location, limits: Limits | None = None) -> Store:
        return opening._OPENERS["az"](opening.Opening(location, limits or self.limits, "keep", ""))

    def found(self, bucket: str) -> dict[str, Found]:
        with self.served.lock:
            blobs = dict(self.served.account.container(bucket).blobs)
        return {name: Found(b.content, b.etag.strip('"')) for name, b in blobs.items() if b.content is not None}

    def staged(self) -> list[str]:
        return [f"{bucket}/{name}" for bucket in BUCKETS for name in self.served.staged(bucket)]

    def fail(self, faults: Faults) -> None:
        self.served.faults = faults

    def close(self) -> None:
        self.served.close()


CLOUDS: dict[str, Callable[[pytest.MonkeyPatch], Gcs | Azure]] = {"gs": Gcs, "az": Azure}
