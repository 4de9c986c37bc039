"""Compose and rewrite: the two ways of Google Cloud Storage to make an object from others on the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from strict_gcs_rules import (
    MAX_COMPONENTS,
    MAX_COMPOSE_SOURCES,
    REWRITE_QUANTUM,
    Refused,
    invalid,
    not_held,
)
from strict_gcs_state import SETTABLE, Conditions, State, Version, int64
from strict_gcs_uploads import json_object
from strict_gcs_wire import Request

_BODY = {"kind", "destination", "sourceObjects", "deleteSourceObjects"}
_SOURCE = {"name", "generation", "objectPreconditions"}


def compose(state: State, bucket: str, name: str, request: Request) -> Version:
    """Joins 1 to 32 whole objects of the bucket. All or nothing: the first source that is not as meant refuses it."""
    given = json_object(request.body)
    sources = given.get("sourceObjects")
    if strange := given.keys() - _BODY:
        raise invalid(f"Unknown name in the body: {', '.join(sorted(strange))} (refused by the strict fake)")
    if not isinstance(sources, list) or not sources:
        raise Refused(400, "required", "You must provide at least one source component.")
    if len(sources) > MAX_COMPOSE_SOURCES:
        raise invalid(
            f"The number of source components provided ({len(sources)}) exceeds the maximum ({MAX_COMPOSE_SOURCES})"
        )
    found = [_source(state, bucket, source) for source in sources]
    destination = given.get("destination") or {}
    if destination.get("name", name) != name or destination.get("bucket", bucket) != bucket:
        raise invalid("The destination in the body does not agree with the one in the path.")
    if given.get("deleteSourceObjects"):
        state.check_may_delete()
    wanted = destination.get("storageClass") or state.bucket_fields[bucket].get("storageClass", "STANDARD")
    if any(version.storage_class != wanted for version in found):
        raise invalid("Cannot compose objects of different storage classes.")
    made = state.insert(
        bucket,
        name,
        b"".join(version.data for version in found),
        destination,
        Conditions.of(request.query),
        components=min(sum(version.components or 1 for version in found), MAX_COMPONENTS),
        with_md5=False,
        kms_key=request.query.get("kmsKeyName", ""),
    )
    if given.get("deleteSourceObjects"):
        for source in {version.name: version for version in found if version.name != name}.values():
            state.delete(source, counted=False)
    return made


def _source(state: State, bucket: str, source: Mapping[str, Any]) -> Version:
    if not isinstance(source, Mapping) or not source.get("name"):
        raise Refused(400, "required", "Required", location="sourceObjects.name")
    conditions = source.get("objectPreconditions") or {}
    strange = [*(source.keys() - _SOURCE), *(conditions.keys() - {"ifGenerationMatch"})]
    if strange:
        raise invalid(f"Unknown name in a source: {', '.join(sorted(strange))} (refused by the strict fake)")
    generation, match = int64(source, "generation"), int64(conditions, "ifGenerationMatch")
    if generation is not None and match is not None and generation != match:
        raise invalid("The generation and ifGenerationMatch of a source object must be the same value.")
    version = state.live(bucket, source["name"])
    if version is None or generation not in (None, version.generation):
        which = f" (generation: {generation})" if generation is not None else ""
        raise Refused(404, "notFound", f"Object {source['name']}{which} not found.")
    if match not in (None, version.generation):
        raise not_held()
    return version


@dataclass
class _Rewrite:
    """A rewrite under way: what was asked in the first call, and how far it is."""

    asked: tuple[object, ...]
    source: Version
    done: int = 0


class Rewrites:
    """A rewrite of more than ``bytes_per_call`` takes several calls, joined by a token."""

    def __init__(self, state: State, bytes_per_call: int) -> None:
        self._state, self._bytes_per_call = state, bytes_per_call
        self._open: dict[str, _Rewrite] = {}
        self._ids = count(1)

    def step(self, source: tuple[str, str], target: tuple[str, str], request: Request) -> dict[str, Any]:
        """One call. The reply's ``resource`` is a Version, there only when it is done; conditions are looked at in
        every call, so that a source or destination that changes meanwhile is noticed at the latest at the end."""
        query = request.query
        quota = int64(query, "maxBytesRewrittenPerCall")
        if quota is not None and (quota == 0 or quota % REWRITE_QUANTUM):
            raise invalid("maxBytesRewrittenPerCall must be an integral multiple of 1 MiB.", "maxBytesRewrittenPerCall")
        found = self._state.found(*source, int64(query, "sourceGeneration"))
        Conditions.of(query, prefix="ifSource").check(found)
        conditions = Conditions.of(query)
        conditions.check(self._state.live(*target))
        asked = (
            source,
            target,
            request.body,
            *((key, query.get(key)) for key in sorted(query) if key != "rewriteToken"),
        )
        token = query.get("rewriteToken")
        current = self._open.get(token) if token else _Rewrite(asked, found)
        if current is None or current.asked != asked or current.source.generation != found.generation:
            raise invalid("Invalid rewrite token.", "rewriteToken")
        size = len(found.data)
        done = min(size, current.done + min(quota or self._bytes_per_call, self._bytes_per_call))
        reply = {"kind": "storage#rewriteResponse", "totalBytesRewritten": str(done), "objectSize": str(size)}
        if done < size:
            current.done = done
            token = token or f"RW{next(self._ids):06d}"
            self._open[token] = current
            return reply | {"done": False, "rewriteToken": token}
        version = self._state.insert(
            *target,
            found.data,
            _inherited(found, json_object(request.body) if request.body else {}),
            conditions,
            components=found.components,
            with_md5=found.md5 is not None,
            kms_key=query.get("destinationKmsKeyName", ""),
        )
        self._open.pop(token or "", None)
        return reply | {"done": True, "resource": version}


def _inherited(source: Version, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The source's metadata when the request gives none; what is given replaces all of it."""
    if any(name in given for name in (*SETTABLE, "metadata")):
        return given
    return {**source.fields, "metadata": source.metadata, **given}
