"""The process that takes away what a killed preflight left: it waits for the end of a pipe whose other end only the
measuring process holds.

    python -m hugesync_producer.preflight.watchdog        one JSON object per line on stdin

``{"begin": TAG, "location": {...}}``: things whose names begin with TAG may be made there from now on; told before the first of
them is. ``{"end": TAG}``: the teller has removed them itself. At the end of the pipe what was begun and not ended is removed.
Exit code 0: nothing is left; 1: something may be. No secret comes this way: profiles are names.
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress

from hugesync_tasks.spec import Location


def main() -> int:
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)  # who ends the preflight ends it; this one must come after
    begun: dict[str, Location] = {}
    for line in sys.stdin:
        with suppress(ValueError, KeyError, TypeError):  # a line that was cut off by the kill
            said = json.loads(line)
            if "begin" in said:
                begun[said["begin"]] = Location(**said["location"])
            else:
                begun.pop(said["end"], None)
    if not begun:
        return 0
    from hugesync_producer.preflight.removal import remove_all  # not before: it would take time from what is measured
    from hugesync_tasks.errors import HugeSyncError

    left = False
    for tag, location in begun.items():
        try:
            left = not remove_all(location, tag, again=True) or left
        except (HugeSyncError, OSError):
            left = True
    return int(left)


if __name__ == "__main__":
    sys.exit(main())
