"""The coordinator that a worker starts for a job nobody leads (``hugesync_tasks/leading.py``): ``python -m
hugesync_producer.standin JOB OWNER [LEVEL]``. It is ``hugesync resume JOB`` under a lease that was taken for it already.

It ends with its worker, and hands the job over then. What keeps it from beginning goes into the ledger, where ``hugesync status``
shows it, and the job stays offered to other workers.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import time

from hugesync_producer.aside import leave
from hugesync_producer.cli_run import sentence
from hugesync_producer.logobserver import LogObserver
from hugesync_producer.roots import seen_here
from hugesync_producer.run import run_job
from hugesync_tasks.config import Settings, load
from hugesync_tasks.errors import HugeSyncError, UsageError
from hugesync_tasks.leading import DECLINED
from hugesync_tasks.logs import OURS, configure, get_logger, on_every_line
from hugesync_tasks.process import open_ledger, roots_of
from hugesync_tasks.redact import redact
from hugesync_tasks.spec import Spec
from hugesync_tasks.summary import Summary, state_of_error
from hugesync_tasks.token import Meter

PR_SET_PDEATHSIG = 1


def main(job: str, owner: str, level: str = "WARNING") -> int:
    """The exit code: the state's, or the error's that kept it from beginning. ``level``: of its log."""
    worker = os.getppid()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    settings = load({})
    configure(level, settings.log_format, with_process=True)
    logging.getLogger(OURS).setLevel(logging.INFO)  # that it begins and ends
    if level == "WARNING":  # what failed is in the summary
        logging.getLogger("hugesync_producer.filelog").setLevel(logging.ERROR)
    on_every_line(job=job)
    log = get_logger(OURS)
    try:
        if os.getppid() != worker:
            raise KeyboardInterrupt  # the worker died before it could be bound to it
        summary = _resume(job, owner, settings)
    except (Exception, KeyboardInterrupt) as error:
        log.warning("the coordinator could not begin: %s", sentence(error))
        _step_down(job, owner, settings, error)
        return state_of_error(error).exit_code
    log.info("the coordinator ends", state=str(summary.state), reason=summary.reason)
    ended = summary.state.exit_code
    return 1 if ended in DECLINED else ended  # it began, and was refused later: no worker need stand aside


def _resume(job: str, owner: str, settings: Settings) -> Summary:
    ledger = open_ledger(settings)
    try:
        text = ledger.spec(job)
    finally:
        ledger.close()
    if text is None:
        raise UsageError(f"no job {job} in this fleet")
    spec = seen_here(Spec.unwire(json.loads(text)), roots_of(settings))
    observer = LogObserver(progress=False)
    return run_job(spec, settings, observer, fresh=False, meter=Meter(), began=time.monotonic(), owner=owner)


def _step_down(job: str, owner: str, settings: Settings, error: BaseException) -> None:
    """Say why, if the lease is still this process's, and give it back."""
    ledger = open_ledger(settings)
    try:
        if ledger.leader(job) == owner:
            if isinstance(error, KeyboardInterrupt):
                ledger.set_meta(job, tries="0")  # its worker ends: this was no try
            else:
                ledger.set_meta(job, reason=redact(sentence(error)))
            ledger.step_down(job, owner)
    except HugeSyncError:
        pass  # it lapses
    finally:
        ledger.close()


if __name__ == "__main__":
    sys.exit(leave(main(*sys.argv[1:])))
