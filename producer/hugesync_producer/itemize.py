"""rsync's ``YXcstpoguax``: in eleven letters what of a file changes, as far as both listings tell.

Y  < sent to a store   > written to a folder   c made here (a link, a folder)   * said in words: *deleting
X  f file   L link   d folder
c  contents differ (asked only with --checksum)      s  size differs      t  time differs  (T: is not kept)
p  mode differs      o, g  owner, group differ (only where they are kept)
.  the same, or not kept      ?  the listing does not tell      +  all of it is new
u, a, x  of rsync: use time, ACL, extended attributes; always .
"""

from __future__ import annotations

from hugesync_producer import human
from hugesync_tasks.model import LINK_SUFFIX, Entry, Kind
from hugesync_tasks.spec import Options, Rules

DELETING = "*deleting"
_KINDS = {Kind.FILE: "f", Kind.LINK: "L", Kind.DIR: "d"}


def code(source: Entry, dest: Entry | None, to_store: bool, rules: Rules, options: Options) -> str:
    """``dest``: what the destination's listing showed before; None = nothing."""
    made_here = source.kind is not Kind.FILE
    head = ("c" if made_here else "<" if to_store else ">") + _KINDS.get(source.kind, "f")
    if dest is None or dest.kind is not source.kind:
        return head + "+++++++++"
    size = "s" if source.size != dest.size else "."
    if source.kind is Kind.LINK:
        content = "c" if size == "s" else "?"  # a listing shows how long a target is
    else:
        content = "c" if rules.checksum else "."
    kept, owned = options.metadata, options.metadata and options.owner
    mode = _differ("p", source.mode, dest.mode) if kept and source.kind is not Kind.LINK else "."
    user = _differ("o", source.uid, dest.uid) if owned else "."
    group = _differ("g", source.gid, dest.gid) if owned else "."
    time = _differ("t", source.mtime_ns, dest.mtime_ns, rules.modify_window_ns) if kept else "T"
    return f"{head}{content}{size}{time}{mode}{user}{group}..."


def line(changes: str, path: str) -> str:
    """As rsync prints it: a link by its own name, a name that could forge a line quoted."""
    return f"{changes:<11} {human.name(path.removesuffix(LINK_SUFFIX))}"


def _differ(letter: str, ours: int | None, theirs: int | None, window: int = 0) -> str:
    if ours is None or theirs is None:
        return "?"
    return letter if abs(ours - theirs) > window else "."
