"""When ``--delete`` may delete, decided from what a join saw. Pure; asked after the first pass, before the second one's first
delete, and by a dry run."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from hugesync_producer import human
from hugesync_producer.extras import Seen
from hugesync_producer.window import Counters
from hugesync_tasks.errors import Refused, UsageError
from hugesync_tasks.spec import Spec

_FORM = re.compile(r"(\d{1,18})(?:(\.\d{1,6})?(%))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class MaxDelete:
    """``N``: so many entries; ``P%``: such a share of the destination's entries, exactly."""

    text: str
    count: int | None = None
    percent: Fraction | None = None

    @classmethod
    def parse(cls, text: str) -> MaxDelete:
        """Raises UsageError."""
        match = _FORM.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                f"--max-delete {text}: give a number of entries, or a share of the destination's, as in 10%"
            )
        if not match[3]:
            return cls(text.strip(), count=int(match[1]))
        percent = Fraction(match[1] + (match[2] or ""))
        if percent > 100:
            raise UsageError(f"--max-delete {text}: a share is at most 100%")
        return cls(text.strip(), percent=percent)

    def allows(self, extras: int, of: int) -> bool:
        if self.count is not None:
            return extras <= self.count
        assert self.percent is not None
        return extras * 100 <= self.percent * of


def refuse(seen: Seen, spec: Spec) -> None:
    """Raises Refused where deleting could be a disaster: no entry of the source takes part, or more would go than
    ``--max-delete`` allows."""
    if seen.selected == 0:
        raise Refused(
            f"no entry of {spec.source.display()} takes part, and with an empty source --delete would empty "
            f"{spec.dest.display()}; nothing was deleted"
        )
    limit = MaxDelete.parse(spec.options.max_delete)
    if not limit.allows(seen.extras, seen.dest):
        raise Refused(
            f"--delete would remove {human.count(seen.extras)} of the {human.count(seen.dest)} entries at "
            f"{spec.dest.display()}, more than --max-delete {limit.text} allows; nothing was deleted. If that is meant, "
            f"give --max-delete {seen.extras}"
        )


def unfit(seen: Seen, counters: Counters) -> str:
    """Why nothing is deleted although nothing is refused, as a sentence; "" where it may be."""
    if seen.errors:
        more = f", and {human.count(seen.errors - 1)} more" if seen.errors > 1 else ""
        return f"nothing was deleted: {seen.error_key} could not be looked at ({seen.error}){more}"
    failed = counters.tally.files["failed"] or len(counters.failures)
    if failed and seen.extras:
        return f"nothing was deleted, because {human.counted(failed, 'transfer')} failed"
    return ""
