"""Does this entry have to be transferred? One pure function, asked by the planner and, after a HEAD, by the worker.

The cases, first match wins. *time* is the source's own mtime where an entry has it; an entry of a store's listing has
none until it was HEADed (``headed=True``: a missing mtime is now known to be missing). *written* is LastModified.

====  =====================================================================  ==============================
 no.  case                                                                   decision
====  =====================================================================  ==============================
   1  nothing at the destination; ``existing``                               EXISTING
   2  nothing at the destination                                             NEW
   3  both are folders; ``ignore_existing``                                  SAME
   4  both are folders: known modes differ, or known times differ            DIFFERENT, else SAME
   5  ``ignore_existing``                                                    EXISTING
   6  the kinds differ (file, link, folder)                                  DIFFERENT
   7  ``update``: a time is not known yet                                    UNKNOWN
   8  ``update``: destination's time (else written) later than the source's  EXISTING
   9  sizes differ                                                           DIFFERENT
  10  ``digests_equal`` was given (contents, or targets of links)            SAME or DIFFERENT
  11  ``checksum``: nothing to read (0 bytes) / contents not compared yet    SAME / UNKNOWN
  12  ``size_only``                                                          SAME
  13  ``ignore_times``                                                       DIFFERENT
  14  both times known, not both from stores                                 SAME iff equal
  15  both from stores: the same non-empty version (ETag)                    SAME
  16  both from stores: a time is not known yet                              UNKNOWN
  17  both from stores, HEADed: destination has no time                      DIFFERENT
  18  both from stores, HEADed: source's time (else written)                 SAME iff equal to the other's time
  19  store to local: local time = written                                   SAME
  20  store to local, not HEADed / HEADed                                    UNKNOWN / DIFFERENT
  21  local to store, not HEADed                                             UNKNOWN
  22  local to store, HEADed, no stored time                                 SAME iff written >= source's time
====  =====================================================================  ==============================

Times are equal when they differ by at most ``modify_window_ns``. *Written* comes in milliseconds from some listings
and in whole seconds from every HEAD, so a time in whole seconds is compared with *written* cut to whole seconds.
Case 22 is not cut: a file written later within the same second is sent again rather than missed.
"""

from __future__ import annotations

from enum import StrEnum

from hugesync_tasks.model import Entry, Kind
from hugesync_tasks.spec import Rules

SECOND = 1_000_000_000


class Decision(StrEnum):
    NEW = "new"
    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"  # HEAD what has no mtime (with ``checksum``: compare the contents) and ask again
    EXISTING = "existing"  # left alone by ignore_existing, existing or update


def decide(
    source: Entry, dest: Entry | None, rules: Rules, *, headed: bool = False, digests_equal: bool | None = None
) -> Decision:
    """Compare ``source`` (a file, link or folder) with what the destination has under the same key.

    ``headed``: every side that is on a store was HEADed, its stored mtime is in the entry if there is one.
    ``digests_equal``: whether the contents (of links: the targets) were found equal; None = not looked at.
    Never says SAME where sizes differ. UNKNOWN comes back from a HEADed call only with ``checksum`` and no digests.
    """
    if dest is None:
        return Decision.EXISTING if rules.existing else Decision.NEW
    if source.kind is Kind.DIR and dest.kind is Kind.DIR:
        return Decision.SAME if rules.ignore_existing or _folders_agree(source, dest, rules) else Decision.DIFFERENT
    if rules.ignore_existing:
        return Decision.EXISTING
    if source.kind is not dest.kind:
        return Decision.DIFFERENT
    if rules.update:
        ours, theirs = _time(source, headed), _time(dest, headed)
        if ours is None or theirs is None:
            if not headed:
                return Decision.UNKNOWN
        elif theirs - ours > rules.modify_window_ns:
            return Decision.EXISTING
    if source.size != dest.size:
        return Decision.DIFFERENT
    if digests_equal is not None:
        return _same_if(digests_equal)
    if rules.checksum:
        return Decision.UNKNOWN if source.size else Decision.SAME
    if rules.size_only:
        return Decision.SAME
    if rules.ignore_times:
        return Decision.DIFFERENT
    return _by_time(source, dest, rules.modify_window_ns, headed)


def _by_time(source: Entry, dest: Entry, window: int, headed: bool) -> Decision:
    """Cases 14 to 22: equal sizes, nothing else asked."""
    ours, theirs = source.mtime_ns, dest.mtime_ns
    if source.modified_ns is not None and dest.modified_ns is not None:
        if source.version and source.version == dest.version:
            return Decision.SAME
        if not headed and (ours is None or theirs is None):
            return Decision.UNKNOWN
        if theirs is None:
            return Decision.DIFFERENT
        return _same_if(
            _equal(ours, theirs, window) if ours is not None else _written_at(source.modified_ns, theirs, window)
        )
    if ours is not None and theirs is not None:
        return _same_if(_equal(ours, theirs, window))
    if theirs is not None and source.modified_ns is not None:
        if _written_at(source.modified_ns, theirs, window):
            return Decision.SAME
        return Decision.DIFFERENT if headed else Decision.UNKNOWN
    if not headed:
        return Decision.UNKNOWN
    return _same_if(ours is not None and dest.modified_ns is not None and dest.modified_ns + window >= ours)


def _time(entry: Entry, headed: bool) -> int | None:
    """For ``update``: the mtime; LastModified only once it is known that no mtime is stored."""
    return entry.mtime_ns if entry.mtime_ns is not None or not headed else entry.modified_ns


def _folders_agree(source: Entry, dest: Entry, rules: Rules) -> bool:
    modes = source.mode is None or dest.mode is None or source.mode == dest.mode
    known = source.mtime_ns is not None and dest.mtime_ns is not None
    return modes and (not known or _equal(source.mtime_ns or 0, dest.mtime_ns or 0, rules.modify_window_ns))


def _equal(a: int, b: int, window: int) -> bool:
    return abs(a - b) <= window


def _written_at(written: int, time: int, window: int) -> bool:
    cut = written // SECOND * SECOND if time % SECOND == 0 else written
    return _equal(cut, time, window) or _equal(written, time, window)


def _same_if(equal: bool) -> Decision:
    return Decision.SAME if equal else Decision.DIFFERENT
