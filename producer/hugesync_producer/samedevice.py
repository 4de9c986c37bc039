"""Which device a source lay on when a job last ended well: a mount point without its mount must not look like a tree that lost
everything. Remembered with the job's history, for each host, since a device is a matter of the host."""

from __future__ import annotations

import json
import socket

from hugesync_producer.jobfolder import JobFolder
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import Refused
from hugesync_tasks.spec import Spec
from hugesync_tasks.state.base import Ledger

Devices = dict[str, str]  # host -> device


def remembered(ledger: Ledger, job: str, folder: JobFolder | None) -> Devices:
    """Of an embedded job by its folder, else by the ledger; {} where nothing is known."""
    if folder is not None:
        known = folder.data.get("devices")
    else:
        try:
            known = json.loads(ledger.meta(job).get("devices", "{}"))
        except ValueError:
            known = None
    return known if isinstance(known, dict) else {}


def updated(devices: Devices, device: str) -> Devices:
    """With what the source lies on at this host now; "" leaves what is known."""
    return {**devices, socket.gethostname(): device} if device else devices


def refuse_another(spec: Spec, devices: Devices, device: str) -> None:
    """Raises Refused where this host had the source on another device last time."""
    before = devices.get(socket.gethostname(), "")
    was, now = (
        text.partition(" ")[0] for text in (before, device)
    )  # a folder may be made anew, on the same filesystem
    if was and was != now:
        raise Refused(
            f"{spec.source.display()} is on another device than last time ({now or 'nothing is there'}, it was {was}): "
            "is everything mounted? Nothing was copied or deleted; one run without --delete accepts the new place"
        )


def refuse_dry(spec: Spec, settings: Settings, device: str) -> None:
    """The same for a dry run, as far as it can know: it asks no ledger."""
    if spec.options.delete and not settings.broker_url:
        folder = JobFolder(settings.state_dir, spec.job)
        refuse_another(spec, folder.read().get("devices") or {}, device)
