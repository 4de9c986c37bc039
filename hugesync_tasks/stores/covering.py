"""What every adapter asks of an upload's parts before it makes them one object."""

from __future__ import annotations

from hugesync_tasks.errors import Permanent
from hugesync_tasks.model import Upload
from hugesync_tasks.stores.base import Parts


def check_cover(upload: Upload, parts: Parts) -> None:
    """A short object under its final name must be impossible, whatever the store checks. Raises Permanent."""
    total = sum(part.size for part in parts)
    if [part.number for part in parts] != list(range(1, len(parts) + 1)) or total != upload.size:
        raise Permanent(
            f"cannot complete the upload: {len(parts)} parts of {total} bytes are not the {upload.size} planned",
            upload.key,
        )
