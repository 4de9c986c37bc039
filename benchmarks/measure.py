"""Run one command and say what it cost with all its descendants: ``measure.py RESULT COMMAND...``.

Wall is until the command itself ends. CPU is its own and that of every process that it started, those too that it
killed or left behind: this process adopts orphans (PR_SET_CHILD_SUBREAPER) and waits for each, so nothing that ran goes
uncounted, an embedded server and worker included. Linux only.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def main() -> None:
    result, *command = sys.argv[1:]
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wall, code = 0.0, 1
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            break
        if pid == process.pid:
            wall, code = time.monotonic() - began, os.waitstatus_to_exitcode(status)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    Path(result).write_text(
        json.dumps({"wall": wall, "cpu": used.ru_utime + used.ru_stime, "peak_kib": used.ru_maxrss, "code": code})
    )


if __name__ == "__main__":
    main()
