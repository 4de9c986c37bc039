"""The library's call, in its two forms: one that returns a summary, and one that tells what happens meanwhile.

python examples/basic_sync.py SOURCE DEST      (paths, or URLs such as s3://bucket/prefix)
python examples/basic_sync.py                  in a temporary folder, to see it work
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
for source_root in ("producer", "worker", "."):  # not needed where HugeSync is installed
    sys.path.insert(0, str(HERE / source_root))

from hugesync_producer.events import FileEvent, Notice, Progress  # noqa: E402
from hugesync_producer.running import sync_events  # noqa: E402
from hugesync_producer.sync import sync  # noqa: E402
from hugesync_tasks.errors import HugeSyncError  # noqa: E402
from hugesync_tasks.summary import State, Summary  # noqa: E402


def copy(source: str, dest: str) -> Summary:
    """One call, from beginning to end."""
    return sync(source, dest, filters=(("-", "*.tmp"),), jobs=2)


def copy_and_watch(source: str, dest: str) -> Summary:
    """The same, told step by step; leaving the block early would stop the job, which can then be resumed."""
    with sync_events(source, dest, filters=(("-", "*.tmp"),), jobs=2) as job:
        for event in job:
            match event:
                case FileEvent(path=path, outcome="done", changes=changes):
                    print(f"  {changes} {path}")
                case FileEvent(path=path, outcome="failed", message=message):
                    print(f"  failed: {path}: {message}")
                case Progress(snapshot) if snapshot.waiting_for:
                    pass  # a display would say so
                case Notice(message):
                    print(f"  {message}")
    return job.summary


def main(args: list[str]) -> int:
    if len(args) == 2:
        return show(copy_and_watch(*args))
    with tempfile.TemporaryDirectory(prefix="hugesync-") as folder:
        source, dest = Path(folder) / "source", Path(folder) / "dest"
        (source / "notes").mkdir(parents=True)
        for n in range(20):
            (source / "notes" / f"{n:02}.txt").write_text(f"note {n}\n")
        (source / "scratch.tmp").write_text("left out\n")
        print("Everything is new:")
        show(copy(str(source), str(dest)))
        (source / "notes" / "07.txt").write_text("note 7, edited\n")
        print("One file was edited:")
        return show(copy_and_watch(str(source), str(dest)))


def show(summary: Summary) -> int:
    files, state = summary.files, summary.state
    print(
        f"{state}: found {files['found']}, done {files['done']}, skipped {files['skipped']}, failed {files['failed']}"
    )
    return 0 if state is State.DONE else state.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except (
        HugeSyncError
    ) as error:  # what is wrong before anything begins: a source that is not there, a store that is not reached
        sys.exit(f"basic_sync: {error.told()}")
