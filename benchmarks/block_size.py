"""What a download would fetch with the automatic block size and with a fixed one: blocks that changed, and the signature.

    python benchmarks/block_size.py --size 1GiB

For each k the file is overwritten at k random places by 4 KiB and has 1,000 bytes inserted at one more. The old file is really
matched against the new one's signature; what is left of the new file is what would be fetched. Medians of the draws.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent)]

from hugesync_tasks.config_units import parse_size  # noqa: E402
from hugesync_tasks.delta.match import Matcher  # noqa: E402
from hugesync_tasks.delta.ops import turned  # noqa: E402
from hugesync_tasks.signature.blocks import KIB, MAX_BLOCK, MIB, BlockHasher, auto_block  # noqa: E402
from hugesync_tasks.signature.format import Binding, Header, Signature  # noqa: E402

Bytes = NDArray[np.uint8]


def changed(old: Bytes, places: int, rng: np.random.Generator) -> Bytes:
    """``old`` overwritten at some places, and with an insert at one."""
    where = int(rng.integers(0, len(old)))
    new = np.empty(len(old) + 1000, np.uint8)
    new[:where] = old[:where]
    new[where : where + 1000] = np.frombuffer(rng.bytes(1000), np.uint8)
    new[where + 1000 :] = old[where:]
    for _ in range(places):
        at = int(rng.integers(0, len(new) - 4 * KIB))
        new[at : at + 4 * KIB] = np.frombuffer(rng.bytes(4 * KIB), np.uint8)
    return new


def fetched(old: Bytes, new: Bytes, block: int) -> tuple[int, int]:
    """Bytes of the new file that the old one has not, rounded out to blocks; bytes of the signature."""
    hasher = BlockHasher(block)
    for at in range(0, len(new), 8 * MIB):
        hasher.feed(new[at : at + 8 * MIB].data)
    header = Header(Binding(len(new), '"' + "e" * 34 + '"'), block, hasher.finish(), "hugesync 0.1.0")

    def read(at: int, view: memoryview) -> None:
        view[:] = old[at : at + len(view)].data

    found = Matcher(Signature(header, bytes(hasher.records))).match(read, len(old), 0, len(old), sign=False)
    return len(new) - sum(c.length for c in turned(found.copies)), header.length


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="1GiB")
    parser.add_argument("--places", default="0,1,2,5,10,20", help="how many places of 4 KiB are overwritten")
    parser.add_argument("--draws", type=int, default=3)
    options = parser.parse_args()
    size = parse_size(options.size)
    rng = np.random.default_rng(1)
    old = np.frombuffer(
        bytearray(b"".join(rng.bytes(min(64 * MIB, size - at)) for at in range(0, size, 64 * MIB))), np.uint8
    )
    auto = auto_block(size)
    print(
        f"| 4 KiB overwritten, and one insert | auto, {auto // KIB} KiB: fetched + signature | 5 MiB: fetched + signature | × |"
    )
    print("| ---: | ---: | ---: | ---: |")
    for places in map(int, options.places.split(",")):
        totals: dict[int, list[tuple[int, int]]] = {auto: [], MAX_BLOCK: []}
        for _ in range(options.draws):
            new = changed(old, places, rng)
            for block, seen in totals.items():
                seen.append(fetched(old, new, block))
        best = {b: statistics.median(f + s for f, s in seen) for b, seen in totals.items()}
        cells = [
            f"{statistics.median(f for f, _ in seen) / MIB:.2f} + {seen[0][1] / MIB:.2f} MiB"
            for seen in totals.values()
        ]
        print(f"| {places} | {' | '.join(cells)} | {best[MAX_BLOCK] / best[auto]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
