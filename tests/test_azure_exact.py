"""What is sent of a changed file to Azure, and fetched of it: the changed bytes rounded out to blocks of the signature, however
large the blocks that it was put together from. To Google Cloud Storage: what was appended, to the byte."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import deltas
from clouds import Azure, Gcs
from conftest import Container
from deltas import KIB, MIB, Edit, noise, rounded, write
from exact import BLOCK, ran, sent, small_edits
from scale import factor, mostly_full
from submit import Submit, assert_moved_nothing
from test_delta_exact import EDITS

SIZE = 80 * BLOCK + 12_345


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[Azure]:
    it = Azure(monkeypatch, page=1000)
    yield it
    it.close()


@pytest.fixture
def gcs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gcs]:
    it = Gcs(monkeypatch, page=1000)
    yield it
    it.close()


def most(changed: list[tuple[int, int]], size: int, moves: bool) -> int:
    """Bytes of the blocks of the old file that the change touched and, where it ``moves`` what lies behind it, of what came."""
    return rounded(changed, BLOCK, size) + (sum(end - start for start, end in changed) if moves else 0)


@pytest.mark.parametrize("edit", mostly_full(EDITS, 2), ids=str)
def test_of_a_changed_file_the_changed_blocks_are_sent_and_fetched(edit: Edit, azure: Azure, tmp_path: Path) -> None:
    here, back = tmp_path / "here", tmp_path / "back"
    here.mkdir()
    with small_edits(BLOCK, SIZE):
        edit.fill(here / "large")
        ran("file", "az", here, azure)
        shutil.copytree(here, back)
        changed = edit.change(here / "large")
    size, before = (here / "large").stat().st_size, len(azure.served.requests)
    bound = most(changed, size, edit.name in ("inserted and removed", "grown inside"))

    up = ran("file", "az", here, azure)
    assert (up.transfers, up.files["done"], up.conflicts) == ({"delta": 1}, 1, 0), up
    assert sum(sent(azure, before)) == up.bytes["sent"] <= bound
    assert up.bytes["reused"] == size - up.bytes["sent"]
    assert azure.found("one")["to/large"].body == (here / "large").read_bytes()
    assert azure.staged() == []

    down = ran("az", "file", back, azure)
    assert (down.transfers, down.files["done"]) == ({"delta": 1}, 1), down
    assert down.bytes["received"] <= bound
    assert (back / "large").read_bytes() == (here / "large").read_bytes()
    again = [ran("file", "az", here, azure), ran("az", "file", back, azure)]
    assert [(r.files["skipped"], r.bytes["sent"], r.bytes["received"]) for r in again] == [(1, 0, 0)] * 2


@pytest.mark.parametrize(("at", "blocks"), [(7 * BLOCK, 1), (7 * BLOCK + 60 * KIB, 1), (8 * BLOCK - 1, 2)])
def test_a_change_of_4_kib_sends_its_block_and_nothing_else(at: int, blocks: int, azure: Azure, tmp_path: Path) -> None:
    file = write(tmp_path / "here/large", SIZE)
    ran("file", "az", file.parent, azure)
    with open(file, "r+b") as changed:
        changed.seek(at)
        changed.write(b"\0" * 4 * KIB)
    before = len(azure.served.requests)
    up = ran("file", "az", file.parent, azure)
    assert sum(sent(azure, before)) == up.bytes["sent"] == blocks * BLOCK
    assert blocks > 1 or sent(azure, before) == [BLOCK]
    assert azure.found("one")["to/large"].body == file.read_bytes()


@pytest.mark.parametrize("more", mostly_full([1, 3 * BLOCK + 7, BLOCK, 20 * BLOCK], 2))
def test_of_a_file_that_grew_what_was_appended_is_sent_to_google_to_the_byte(
    more: int, gcs: Gcs, tmp_path: Path
) -> None:
    file = write(tmp_path / "here/large", SIZE)
    ran("file", "gs", file.parent, gcs)
    with open(file, "ab") as grown:
        grown.writelines(noise(more, 9))
    up = ran("file", "gs", file.parent, gcs)
    assert up.transfers == {"delta": 1}
    assert (up.bytes["sent"], up.bytes["reused"]) == (more, SIZE)
    assert gcs.found("one")["to/large"].body == file.read_bytes()
    assert sorted(gcs.found("one")) == ["to/large", "to/large.hssig"]


def azurite_sizes() -> tuple[int, int]:
    """(a MiB of the edits, the file's bytes)"""
    return (MIB, deltas.SIZE) if factor() >= 1 else (BLOCK, SIZE)


@pytest.mark.parametrize("edit", mostly_full(EDITS, 1), ids=str)
def test_of_a_changed_file_the_changed_blocks_are_sent_to_azurite(
    edit: Edit, azure_container: Container, tmp_path: Path
) -> None:
    submit = Submit(tmp_path / "us", {**azure_container.env, "HUGESYNC_PART_SIZE": "5MiB"})
    there = f"az://{azure_container.container}/to"
    here, back = tmp_path / "here", tmp_path / "back"
    here.mkdir()
    low = ("--delta-threshold", "2MiB", "--block-size", "64KiB")
    with small_edits(*azurite_sizes()):
        edit.fill(here / "large")
        assert submit(here, there, *low).code == 0
        shutil.copytree(here, back)
        changed = edit.change(here / "large")
    size = (here / "large").stat().st_size
    bound = most(changed, size, edit.name in ("inserted and removed", "grown inside"))
    up = submit(here, there, *low)
    assert (up.code, up.json["transfers"]["delta"]) == (0, 1), (up.json, up.err)
    assert up.bytes["sent"] <= bound
    assert up.bytes["reused"] == size - up.bytes["sent"]
    if factor() < 1:
        return
    down = submit(there, back, *low)
    assert (down.code, down.json["transfers"]["delta"]) == (0, 1), (down.json, down.err)
    assert down.bytes["received"] <= bound
    assert (back / "large").read_bytes() == (here / "large").read_bytes()
    assert_moved_nothing(submit(here, there, *low))
