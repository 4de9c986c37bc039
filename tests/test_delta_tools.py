"""``hugesync sign``, ``delta`` and ``patch`` on real files: the round trip, every refusal, and nothing left behind."""

from __future__ import annotations

import io
import os
import random
import resource
import subprocess
import sys
import sysconfig
import tarfile
from dataclasses import dataclass
from pathlib import Path

import blake3
import numpy as np
import pytest

from hugesync_producer.cli import invoke
from hugesync_producer.cli_jobs import hugesync_commands
from hugesync_tasks.delta import container, files
from hugesync_tasks.delta.container import BadDelta, DeltaReader, Ends
from hugesync_tasks.delta.ops import Copy
from hugesync_tasks.errors import SourceChanged
from hugesync_tasks.signature.blocks import KIB, MIB
from submit import ROOT

ENV = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in ("", "producer", "worker"))}
_HUGESYNC = "import sys; sys.argv[0] = 'hugesync'; from hugesync_producer.cli import hugesync; sys.exit(hugesync())"


@dataclass
class Tools:
    """The commands in one folder; ``hs`` in this process, ``process`` in one of its own."""

    folder: Path

    def hs(self, *args: str | Path) -> int:
        return invoke(hugesync_commands, "hugesync", [str(a) for a in args])

    def process(
        self, *args: str | Path, feed: bytes | None = None, limit: int | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        def before() -> None:
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        command = [sys.executable, "-c", _HUGESYNC, *map(str, args)]
        return subprocess.run(
            command, input=feed, capture_output=True, cwd=self.folder, env=ENV, preexec_fn=before, check=False
        )

    def file(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def names(self) -> set[str]:
        return {p.name for p in self.folder.iterdir()}


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path)


@pytest.fixture
def trio(tools: Tools) -> tuple[Path, Path, Path]:
    """A basis, what is made of it, and the delta between them."""
    old = random.Random(1).randbytes(700_000)
    basis, new = tools.file("old", old), tools.file("new", old[:300_000] + b"inserted" + old[300_000:])
    assert tools.hs("sign", basis) == 0
    assert tools.hs("delta", f"{basis}.hssig", new) == 0
    return basis, new, tools.folder / "new.hsdelta"


def stdlib_tar(changed: bool) -> bytes:
    """Some modules of the standard library as tar, 2 MiB or more; ``changed``: a line added, a module left out, another moved."""
    out = io.BytesIO()
    names = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    if changed:
        names.append(names.pop(10))
        del names[40]
    with tarfile.open(fileobj=out, mode="w") as tar:
        for i, path in enumerate(names):
            data = path.read_bytes()
            if changed and i == 70:
                data = b"# added\n" + data
            info = tarfile.TarInfo(path.name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def library(changed: bool) -> bytes:
    """A shared library; ``changed``: relinked, as far as a test can."""
    data = max((p for p in Path(np.__file__).parent.rglob("*.so")), key=lambda p: p.stat().st_size).read_bytes()
    if changed:
        middle = len(data) // 2
        data = data[:1000] + b"\x01" * 16 + data[1016:middle] + b"new function" + data[middle:-5000] + data[-4000:]
    return data


@pytest.mark.parametrize("make", [stdlib_tar, library])
@pytest.mark.parametrize("block", ["auto", "128KiB", "5MiB"])
def test_what_was_changed_is_made_again_of_the_old_file_and_a_small_delta(
    tools: Tools, make: object, block: str
) -> None:
    old, new = make(False), make(True)  # type: ignore[operator]
    a, b, back = tools.file("a", old), tools.file("b", new), tools.folder / "back"
    assert tools.hs("sign", a, "--block-size", block) == 0
    assert tools.hs("delta", f"{a}.hssig", b) == 0
    assert tools.hs("patch", a, f"{b}.hsdelta", back) == 0
    assert back.read_bytes() == new
    if block == "auto":
        assert (tools.folder / "b.hsdelta").stat().st_size < 8 * 64 * KIB + 1000
    assert tools.names() == {"a", "b", "a.hssig", "b.hsdelta", "back"}


@pytest.mark.parametrize("size", [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1])
def test_files_of_all_edge_sizes_survive_the_round_trip_both_ways(tools: Tools, size: int) -> None:
    one, other = (
        tools.file("one", random.Random(2).randbytes(size)),
        tools.file("other", random.Random(2).randbytes(size + 7)),
    )
    for a, b in ((one, other), (other, one), (one, one)):
        assert tools.hs("sign", a, "-f") == 0
        assert tools.hs("delta", f"{a}.hssig", b, "-f") == 0
        assert tools.hs("patch", a, f"{b}.hsdelta", tools.folder / "back", "-f") == 0
        assert (tools.folder / "back").read_bytes() == b.read_bytes()


def test_standard_input_and_output_by_a_dash(tools: Tools, trio: tuple[Path, Path, Path]) -> None:
    basis, new, delta = trio
    signed = tools.process("sign", basis, "-o", "-")
    assert signed.returncode == 0
    assert signed.stdout[80:] == (tools.folder / "old.hssig").read_bytes()[80:-32] + signed.stdout[-32:]
    made = tools.process("delta", "-", new, "-o", "-", feed=signed.stdout)
    assert (made.returncode, made.stdout) == (0, delta.read_bytes())
    before = tools.names()
    patched = tools.process("patch", basis, "-", "back", feed=made.stdout)
    assert patched.returncode == 0
    assert (tools.folder / "back").read_bytes() == new.read_bytes()
    assert tools.names() == before | {"back"}
    refused = tools.process("patch", basis, delta, "-")
    assert (refused.returncode, refused.stdout) == (2, b"")
    assert tools.names() == before | {"back"}


def test_what_exists_is_written_over_only_by_force(tools: Tools, trio: tuple[Path, Path, Path]) -> None:
    basis, new, delta = trio
    out = tools.file("out", b"precious")
    commands = [
        ("sign", basis, "-o", out),
        ("delta", tools.folder / "old.hssig", new, "-o", out),
        ("patch", basis, delta, out),
    ]
    for command in commands:
        assert tools.hs(*command) == 2
        assert out.read_bytes() == b"precious"
    for command in commands:
        assert tools.hs(*command, "--force") == 0
        assert out.read_bytes() != b"precious"
    assert out.read_bytes() == new.read_bytes()
    assert not [n for n in tools.names() if n.startswith(".")]


def test_no_force_puts_a_file_in_the_place_of_a_device_a_pipe_or_a_folder(
    tools: Tools, trio: tuple[Path, Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    basis, new, delta = trio
    pipe, link, folder = tools.folder / "pipe", tools.folder / "link", tools.folder / "folder"
    os.mkfifo(pipe)
    link.symlink_to("/dev/null")
    folder.mkdir()
    before = tools.names()
    for out in (pipe, link, folder):
        for command in (
            ("sign", basis, "-o", out),
            ("delta", f"{basis}.hssig", new, "-o", out),
            ("patch", basis, delta, out),
        ):
            capfd.readouterr()
            assert tools.hs(*command, "--force") == 2
            assert "no regular file" in capfd.readouterr().err
    assert tools.names() == before
    assert link.is_symlink()
    assert pipe.is_fifo()


def test_the_basis_itself_may_be_written_over(tools: Tools, trio: tuple[Path, Path, Path]) -> None:
    basis, new, delta = trio
    assert tools.hs("patch", basis, delta, basis, "--force") == 0
    assert basis.read_bytes() == new.read_bytes()


def test_another_basis_is_refused_whether_its_size_gives_it_away_or_only_its_bytes(
    tools: Tools, trio: tuple[Path, Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    basis, _, delta = trio
    before = tools.names()
    same_size = bytearray(basis.read_bytes())
    same_size[100_000] ^= 1
    for data, said in ((basis.read_bytes()[:-1], "basis of 700000 bytes"), (bytes(same_size), "another basis")):
        wrong = tools.file("wrong", data)
        assert tools.hs("patch", wrong, delta, tools.folder / "back") == 2
        assert said in capfd.readouterr().err
        assert tools.names() == before | {"wrong"}


def test_a_delta_broken_at_any_place_makes_nothing(tools: Tools, trio: tuple[Path, Path, Path]) -> None:
    basis, _, delta = trio
    good = delta.read_bytes()
    before = tools.names()
    places = [*range(90 + 17 * 3), *range(0, len(good), 997), *range(len(good) - 70, len(good))]
    with files.opened(basis) as old:
        for at in places:
            flipped = good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]
            for broken in (good[:at], flipped):
                with pytest.raises(BadDelta):
                    files.patch(old, io.BytesIO(broken).read, tools.folder / "back")
        with pytest.raises(BadDelta):
            files.patch(old, io.BytesIO(good + b"x").read, tools.folder / "back")
    assert tools.names() == before
    broken = tools.file("broken", good[:-1])
    assert tools.hs("patch", basis, broken, tools.folder / "back") == 2
    assert tools.names() == before | {"broken"}


def sealed(*steps: bytes, basis: int = 100, size: int = 100) -> bytes:
    head = (
        b"HSDELT\r\n"
        + (1).to_bytes(2, "little")
        + basis.to_bytes(8, "little")
        + bytes(32)
        + size.to_bytes(8, "little")
        + bytes(32)
    )
    body = head + b"".join(steps)
    return body + blake3.blake3(body).digest()


def copy(source: int, length: int) -> bytes:
    return b"\x01" + source.to_bytes(8, "little") + length.to_bytes(8, "little")


def insert(length: int, data: bytes) -> bytes:
    return b"\x02" + length.to_bytes(8, "little") + data


END = b"\x00"


@pytest.mark.parametrize(
    "data",
    [
        sealed(copy(0, 101), END),
        sealed(copy(1, 100), END),
        sealed(copy((1 << 64) - 1, 1), END),
        sealed(copy(0, (1 << 64) - 1), END),
        sealed(copy(0, 0), copy(0, 100), END),
        sealed(copy(0, 99), END),
        sealed(copy(0, 60), copy(0, 60), END),
        sealed(copy(0, 60), insert(41, bytes(41)), END),
        sealed(insert(1 << 63, b"x"), END),
        sealed(insert(0, b""), copy(0, 100), END),
        sealed(insert(100, bytes(99)), END),
        sealed(b"\x03", END),
        sealed(copy(0, 100)),
        sealed(copy(0, 100), END, END),
        b"",
    ],
)
def test_a_delta_that_was_sealed_and_still_says_what_cannot_be_is_refused(data: bytes) -> None:
    with pytest.raises(BadDelta):
        list(DeltaReader(io.BytesIO(data).read))


def test_a_small_delta_is_these_bytes_as_the_documentation_has_them() -> None:
    ends = Ends(100, b"B" * 32, 103, b"N" * 32)
    new = b"ab" + bytes(range(100)) + b"c"

    def read(at: int, view: memoryview) -> None:
        view[:] = new[at : at + len(view)]

    expected = (
        b"HSDELT\r\n"
        b"\x01\x00"
        + (100).to_bytes(8, "little") + b"B" * 32 + (103).to_bytes(8, "little") + b"N" * 32
        + insert(2, b"ab") + copy(0, 100) + insert(1, b"c") + END
    )  # fmt: skip
    expected += blake3.blake3(expected).digest()
    assert b"".join(container.write(ends, [Copy(2, 0, 100)], read)) == expected
    reader = DeltaReader(io.BytesIO(expected).read)
    assert reader.ends == ends
    assert list(reader) == [b"ab", Copy(2, 0, 100), b"c"]


@pytest.mark.parametrize("what", ["absent", "folder", "pipe", "folder/inside"])
def test_what_is_no_file_is_refused_at_once_and_nothing_is_made(
    tools: Tools, trio: tuple[Path, Path, Path], what: str, capfd: pytest.CaptureFixture[str]
) -> None:
    basis, _, delta = trio
    (tools.folder / "folder").mkdir()
    os.mkfifo(tools.folder / "pipe")
    path, out = tools.folder / what, tools.folder / "out"
    before = tools.names()
    assert tools.hs("sign", path, "-o", out) == 2
    assert tools.hs("delta", f"{basis}.hssig", path, "-o", out) == 2
    assert tools.hs("patch", path, delta, out) == 2
    if what != "pipe":  # a signature or a delta may well come through one
        assert tools.hs("delta", path, basis, "-o", out) == 2
        assert tools.hs("patch", basis, path, out) == 2
    assert tools.names() == before
    assert "Traceback" not in capfd.readouterr().err


def test_neither_a_file_nor_another_signature_is_taken_for_one(
    tools: Tools, trio: tuple[Path, Path, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    basis, new, delta = trio
    before = tools.names()
    cut = tools.file("cut", (tools.folder / "old.hssig").read_bytes()[:-1])
    for wrong in (basis, delta, cut):
        assert tools.hs("delta", wrong, new, "-o", tools.folder / "out") == 2
        assert "no signature that can be used" in capfd.readouterr().err
    assert tools.hs("patch", basis, tools.folder / "old.hssig", tools.folder / "out") == 2
    assert tools.names() == before | {"cut"}


@pytest.mark.parametrize("size", ["63KiB", "96KiB", "1.5MiB", "6MiB", "0", "many"])
def test_block_sizes_that_no_signature_has_are_refused(
    tools: Tools, size: str, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tools.file("file", b"x")
    assert tools.hs("sign", file, "--block-size", size) == 2
    assert "--block-size" in capfd.readouterr().err
    assert tools.names() == {"file"}


def test_blocks_too_small_for_a_huge_file_are_refused_before_it_is_read(
    tools: Tools, capfd: pytest.CaptureFixture[str]
) -> None:
    huge = tools.file("huge", b"")
    os.truncate(huge, (1 << 40) + 1)
    assert tools.hs("sign", huge, "--block-size", "1MiB") == 2
    assert "at least 2MiB" in capfd.readouterr().err
    assert tools.names() == {"huge"}


def test_on_a_full_disk_nothing_is_left_behind(tools: Tools, trio: tuple[Path, Path, Path]) -> None:
    basis, _, delta = trio
    out = tools.file("out", b"precious")
    before = tools.names()
    whole = tools.file("whole", random.Random(9).randbytes(700_000))
    for command in (
        ("sign", basis, "-o", out, "-f"),
        ("delta", tools.folder / "old.hssig", whole, "-o", out, "-f"),
        ("patch", basis, delta, out, "-f"),
    ):
        done = tools.process(*command, limit=300)
        assert done.returncode == 2, done.stderr
        assert b"too large" in done.stderr
        assert b"Traceback" not in done.stderr
        assert out.read_bytes() == b"precious"
        assert tools.names() == before | {"whole"}


def test_a_file_that_changes_while_it_is_read_is_no_result(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tools.file("file", random.Random(4).randbytes(300_000))
    with files.opened(path) as file:
        made = files.sign(file, None, "test")
    with files.opened(path) as file:
        os.truncate(path, 200_000)
        with pytest.raises(SourceChanged, match="shorter"):
            files.sign(file, None, "test")
    path.write_bytes(random.Random(4).randbytes(300_000))
    with files.opened(path) as file:
        path.write_bytes(random.Random(5).randbytes(300_000))
        os.utime(path, ns=(1, 1))
        with pytest.raises(SourceChanged, match="changed"):
            files.sign(file, None, "test")
        with pytest.raises(SourceChanged, match="changed"):
            files.compare(made, file)


def test_a_basis_that_changes_while_it_is_patched_makes_nothing(tools: Tools, trio: tuple[Path, Path, Path]) -> None:
    basis, _, delta = trio
    before = tools.names()
    with files.opened(basis) as old, delta.open("rb") as stream:
        os.utime(basis, ns=(1, 1))
        with pytest.raises(SourceChanged):
            files.patch(old, stream.read, tools.folder / "back")
    assert tools.names() == before


def test_a_reader_that_goes_away_ends_it_without_a_traceback(tools: Tools) -> None:
    file = tools.file("file", random.Random(6).randbytes(20 * MIB))
    assert tools.hs("sign", tools.file("other", b"x")) == 0
    command = [sys.executable, "-c", _HUGESYNC, "delta", str(tools.folder / "other.hssig"), str(file), "-o", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        err = process.stderr.read()
    assert process.returncode != 0
    assert b"Traceback" not in err
    assert b"Exception ignored" not in err
