"""``hugesync-submit`` for a store that copies no more than 5 MiB at once: what needs 5 GiB elsewhere is copied part by part here.

Only the limits differ, and they travel to the workers with the job.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from hugesync_producer import sync
from hugesync_producer.cli import submit
from hugesync_tasks.stores.base import Limits

MOST = 5 << 20

measured = sync.measured


def small(*args: Any) -> Limits:
    return replace(measured(*args), max_copy=MOST, max_part=MOST)


sync.measured = small

if __name__ == "__main__":
    sys.argv[0] = "hugesync-submit"
    sys.exit(submit())
