"""What a selection means for one job: what of it counts as the job's identity, and what it cannot mean at these two ends."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from hugesync_producer.filterrules import absolute
from hugesync_producer.namelist import NameList
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Location, Options, Selection


def listing(selection: Selection | None, names: NameList | None) -> Selection:
    """The selection of a job that is given ``names``."""
    return replace(selection or Selection(), listed=names.digest if names is not None else "")


def identity_of(selection: Selection) -> dict[str, Any]:
    """What of it makes a job another one. What an earlier release did not know is left out where it is at its default, or the
    jobs that it left unfinished would not be found."""
    what = asdict(selection)
    if not selection.listed:
        del what["listed"]
    return what


def refuse_unfit(selection: Selection, source: Location, dest: Location, options: Options, single: str = "") -> None:
    """Raises UsageError for what cannot be honoured here, by name. ``single``: the source is one file."""
    if selection.listed and single:
        raise UsageError(f"--files-from is of folders and prefixes, and {source.display_of(single)} is a single file")
    if selection.listed and options.delete:
        raise UsageError(
            "--delete cannot be meant with --files-from: what the list does not name would be taken for what SOURCE lacks"
        )
    for end, side in ((source, "s"), (dest, "r")):
        rule = absolute(selection.filters, side)
        if rule and end.scheme != "file" and (side == "s" or options.delete):
            raise UsageError(
                f"the filter rule {rule!r} means nothing at {end.display()}: the modifier / is of the absolute path of a local folder"
            )
