"""What makes the machine code is given back once the loop is machine code: a worker that slides stays under 250 MB (issue 3)."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hugesync_tasks.delta.compiler_memory import untouched
from scale import scaled

SMAPS = """\
7f0000000000-7f0000002000 r-xp 00001000 fe:00 131 /opt/lib/libllvmlite.so
Rss: 8 kB
Anonymous: 0 kB
7f0000002000-7f0000003000 r--p 00003000 fe:00 131 /opt/lib/libllvmlite.so
Anonymous: 4 kB
7f0000003000-7f0000004000 rw-p 00004000 fe:00 131 /opt/lib/libllvmlite.so
Anonymous: 0 kB
7f0000005000-7f0000006000 r-xp 00000000 fe:00 131 /opt/lib/libother.so
Anonymous: 0 kB
7f0000007000-7f0000008000 rw-p 00000000 00:00 0
Anonymous: 4 kB
"""


def test_no_page_that_was_written_to_is_dropped() -> None:
    assert untouched(SMAPS.splitlines()) == [(0x7F0000000000, 0x7F0000002000)]


SLIDES = """
    import re, sys
    from hugesync_tasks.delta.match import Matcher
    from hugesync_tasks.signature.blocks import MIN_BLOCK, hash_blocks
    from hugesync_tasks.signature.format import Binding, Header, Signature
    import random

    data = random.Random(1).randbytes(int(sys.argv[1]))
    signature = Signature(Header(Binding(len(data), "v"), MIN_BLOCK, bytes(32)), hash_blocks(memoryview(data), MIN_BLOCK))
    shifted = b"x" * 1000 + data

    def read(at, view):
        view[:] = shifted[at : at + len(view)]

    for again in range(2):  # the second with the compiler gone
        found = Matcher(signature).match(read, len(shifted), 0, len(shifted)).copies
        assert sum(c.length for c in found) >= len(data) - MIN_BLOCK, found
    of_library = 0
    for line in open("/proc/self/smaps"):
        if re.match("[0-9a-f]+-", line):
            ours = "libllvmlite" in line
        elif ours and line.startswith("Rss:"):
            of_library += int(line.split()[1])
    print(of_library)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_compiler_does_not_stay_in_memory_and_sliding_goes_on() -> None:
    size = str(scaled(32 << 20, least=2 << 20))
    said = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SLIDES), size], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    assert int(said.stdout) < 8 << 10  # KiB; 66 MiB where nothing is given back


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("step", ["slide", "upload", "download", "between", "sign"])
def test_the_largest_signature_there_is_takes_no_worker_above_250_mb(step: str) -> None:
    """``largest.py``: 2²⁰ blocks, as of 5 TiB; a signature of a larger file has no more."""
    here = Path(__file__).parent.parent
    command = [sys.executable, "-m", "tests.largest", step]
    said = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert 100_000_000 < int(said.stdout) <= 250_000_000
