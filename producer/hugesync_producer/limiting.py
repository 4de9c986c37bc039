"""``hugesync limit``: what a job, or all jobs at an endpoint, may use, told and changed while they run."""

from __future__ import annotations

import json
from collections.abc import Mapping

from hugesync_producer.jobs import running
from hugesync_tasks.caps import Caps, endpoint_of
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import UsageError
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger


def limit(job_id: str, settings: Settings, said: Mapping[str, str]) -> Caps:
    """Change what is ``said`` of a running job (``Caps.wire``; nothing = only look); what holds then. Its processes hear of
    it within a second or so. Raises UsageError, Refused, Unreachable."""
    with running(job_id, settings, "limit") as ledger:
        if said:
            ledger.set_meta(job_id, **said)
        return _of(ledger, job_id, ledger.meta(job_id))


def limit_endpoint(url: str, settings: Settings, said: Mapping[str, str]) -> Caps:
    """The same of an endpoint, for every job of the fleet that uses it, now and later. Raises as ``limit``."""
    try:
        endpoint = endpoint_of(url)
    except ValueError as error:
        raise UsageError(f"--endpoint: {error}") from error
    if not settings.broker_url:
        raise UsageError(
            "the limits of an endpoint hold for the jobs of a fleet: give --broker URL, or HUGESYNC_BROKER_URL"
        )
    ledger = open_ledger(settings)
    try:
        ledger.limit_endpoint(endpoint, said)
        return Caps().told(ledger.endpoints().get(endpoint, {}))
    finally:
        ledger.close()


def limits(settings: Settings) -> tuple[dict[str, Caps], dict[str, Caps]]:
    """What holds for each running job of a fleet, and for each endpoint. Raises UsageError, Unreachable."""
    if not settings.broker_url:
        raise UsageError("give a job, or the fleet's --broker URL to see the limits of all of its jobs and endpoints")
    ledger = open_ledger(settings)
    try:
        metas = {job: ledger.meta(job) for job, _ in ledger.jobs()}
        jobs = {job: _of(ledger, job, meta) for job, meta in metas.items() if meta.get("state") == "running"}
        return jobs, {endpoint: Caps().told(said) for endpoint, said in sorted(ledger.endpoints().items())}
    finally:
        ledger.close()


def _of(ledger: Ledger, job_id: str, meta: Mapping[str, str]) -> Caps:
    spec = ledger.spec(job_id)
    return (Caps.of(Spec.unwire(json.loads(spec)).options) if spec is not None else Caps()).told(meta)
