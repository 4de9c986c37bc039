"""A signature's records as arrays: of 2²⁰ blocks, the most there are, a dict would take 150 MB and more than a worker may have."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hugesync_tasks.signature.blocks import RECORD

U32 = NDArray[np.uint32]
U64 = NDArray[np.uint64]
Numbers = NDArray[np.int64]
_RECORD = np.dtype([("weak", "<u4"), ("strong", "<u8"), ("rest", "V24")])
assert _RECORD.itemsize == RECORD


def weak_and_strong(records: bytes, count: int) -> tuple[U32, U64]:
    """Of the first ``count`` records the weak hashes and the first 8 bytes of the strong ones, where they lie."""
    packed = np.frombuffer(records, _RECORD, count)
    return packed["weak"], packed["strong"]


def first_equal(have: U64, want: U64) -> Numbers:
    """For each of ``want`` the first place in ``have`` with the same value, or -1."""
    if not len(have):
        return np.full(len(want), -1, np.int64)
    order = np.argsort(have, kind="stable")
    at = np.searchsorted(have, want, sorter=order)
    found: Numbers = order[np.minimum(at, len(have) - 1)]
    found[have[found] != want] = -1
    return found
