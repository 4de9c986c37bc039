"""What a selection means for one job: what of it counts as the job's identity, and what it cannot mean at these two ends."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hugesync_producer.filterrules import absolute
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location, Options, Selection


def identity_of(selection: Selection) -> dict[str, Any]:
    """What of it makes a job another one."""
    return asdict(selection)


def refuse_unfit(selection: Selection, source: Location, dest: Location, options: Options) -> None:
    """Raises UsageError for what cannot be honoured here, by name."""
    for end, side in ((source, "s"), (dest, "r")):
        rule = absolute(selection.filters, side)
        if rule and end.scheme != "file" and (side == "s" or options.delete):
            raise UsageError(
                f"the filter rule {rule!r} means nothing at {end.display()}: the modifier / is of the absolute path of a local folder"
            )
