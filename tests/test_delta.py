"""Matching: copies that say what is there, as many as there are, in any ranges, and an end to it whatever the signature says."""

from __future__ import annotations

import random
import struct
import time
from dataclasses import dataclass
from itertools import pairwise

import blake3
import llvmlite.binding as llvm
import numpy as np
import pytest
from awscrt.checksums import crc32c, crc64nvme
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hugesync_tasks.delta.kernel import LANES
from hugesync_tasks.delta.match import Matcher
from hugesync_tasks.delta.ops import Copy, inserts, merge, same_blocks
from hugesync_tasks.delta.rolling import WeakIndex, arriving, leaving, plain
from hugesync_tasks.delta.slide import looked
from hugesync_tasks.signature.blocks import KIB, MIB, BlockHasher, file_digest
from hugesync_tasks.signature.format import Binding, Header, Signature
from oracle_delta import applied, least_inserted

BLOCK = 64 * KIB


def signed(data: bytes, block: int = BLOCK) -> Signature:
    """By the words of docs/hssig.md: CRC-32C and BLAKE3 of each block."""
    pieces = [data[i : i + block] for i in range(0, len(data), block)]
    records = b"".join(struct.pack("<I", crc32c(p)) + blake3.blake3(p).digest() for p in pieces)
    return Signature(Header(Binding(len(data), "e"), block, bytes(32)), records)


@dataclass
class File:
    """A file in memory that counts what is read of it."""

    data: bytes
    got: int = 0
    furthest: int = 0

    def read(self, at: int, view: memoryview) -> None:
        assert 0 <= at <= at + len(view) <= len(self.data), "read beyond the end"
        view[:] = self.data[at : at + len(view)]
        self.got += len(view)
        self.furthest = max(self.furthest, at + len(view))


def matched(basis: bytes, new: bytes, block: int = BLOCK, ranges: int = 1 << 40, sign: bool = True) -> list[Copy]:
    """All ranges of ``new`` matched each by a matcher of its own, as different workers do, and merged."""
    signature = signed(basis, block)
    copies: list[Copy] = []
    for start in range(0, len(new), ranges):
        end = min(len(new), start + ranges)
        copies += Matcher(signature).match(File(new).read, len(new), start, end, sign).copies
    return merge(copies)


def inserted(copies: list[Copy], new: bytes) -> int:
    return sum(n for _, n in inserts(copies, len(new)))


def right(basis: bytes, new: bytes, copies: list[Copy]) -> None:
    assert applied(basis, new, [(c.at, c.source, c.length) for c in copies]) == new


def noise(n: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(n)


# edits


EDGES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 100_000]


Piece = tuple[str, int, int]  # kind, bytes, seed or length of the pattern
Edit = tuple[str, int, int, int]  # kind, place in millionths, alignment, bytes


def bases() -> st.SearchStrategy[list[Piece]]:
    """Recipes of noise, zeros, and short patterns repeated, in some order; up to about 1 MiB, of any length."""
    length = st.sampled_from(EDGES) | st.integers(0, 400_000)
    noisy = st.tuples(st.just("noise"), length, st.integers(0, 9))
    pattern = st.tuples(st.just("pattern"), length, st.sampled_from([2, 7, 4096, BLOCK, BLOCK + 1]))
    plain_ = st.tuples(st.sampled_from(["zeros", "again"]), length, st.just(0))
    return st.lists(noisy | noisy | pattern | plain_, max_size=4)


def edits() -> st.SearchStrategy[list[Edit]]:
    kinds = ["insert", "delete", "overwrite", "move", "double", "cut", "grow", "zeros", "shuffle"]
    lengths = [1, 777, 1000, 4096, BLOCK - 1, BLOCK, BLOCK + 1]
    edit = st.tuples(
        st.sampled_from(kinds),
        st.integers(0, 1_000_000),
        st.sampled_from([1, 1, 4096, BLOCK]),
        st.sampled_from(lengths),
    )
    return st.lists(edit, max_size=5)


class Pair:
    """A basis, and a file made of it by edits; shown by its recipe."""

    def __init__(self, pieces: list[Piece], changes: list[Edit]) -> None:
        self.recipe = pieces, changes
        out = bytearray()
        for kind, n, seed in pieces:
            match kind:
                case "noise":
                    out += noise(n, seed)
                case "zeros":
                    out += bytes(n)
                case "pattern":
                    pattern = noise(seed, 3)
                    out += (pattern * (n // len(pattern) + 1))[:n]
                case "again":
                    out += out[:n]
        self.basis = bytes(out)
        for change in changes:
            out = _edited(out, *change)
        self.new = bytes(out[: 3 * MIB])

    def __repr__(self) -> str:
        return f"Pair{self.recipe}"


def _edited(new: bytearray, kind: str, place: int, unit: int, n: int) -> bytearray:
    at = len(new) * place // 1_000_000 // unit * unit
    match kind:
        case "insert":
            new[at:at] = noise(n, 100)
        case "delete":
            del new[at : at + n]
        case "overwrite":
            new[at : at + n] = noise(n, 101)
        case "move":
            piece = new[at : at + 3 * n]
            del new[at : at + 3 * n]
            new[at // 2 : at // 2] = piece
        case "double":
            new[at:at] = new[at : at + 3 * n]
        case "cut":
            del new[at:]
        case "grow":
            new += noise(n, 102)
        case "zeros":
            new[at : at + n] = bytes(n)
        case "shuffle":
            pieces = [bytes(new[i : i + BLOCK]) for i in range(0, len(new), BLOCK)]
            random.Random(n).shuffle(pieces)
            new = bytearray(b"".join(pieces))
    return new


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.builds(Pair, bases(), edits()), st.booleans())
def test_any_edit_is_made_of_copies_that_are_right_and_in_ranges_as_well(pair: Pair, sign: bool) -> None:
    basis, new = pair.basis, pair.new
    whole = matched(basis, new, sign=sign)
    right(basis, new, whole)
    ranges = matched(basis, new, ranges=MIB, sign=sign)
    right(basis, new, ranges)
    least = least_inserted(basis, new, BLOCK)
    # in repeated content a block that stayed in its place may stand across two that moved: at most one is lost for it
    assert inserted(whole, new) <= least + BLOCK * len(whole)
    assert inserted(ranges, new) <= inserted(whole, new) + BLOCK * (len(new) // MIB)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.integers(0, 700_000), edits())
def test_where_nothing_repeats_no_byte_is_sent_that_whole_blocks_could_cover(size: int, changes: list[Edit]) -> None:
    pair = Pair([("noise", size, 7)], [e for e in changes if e[0] != "double"])
    for ranges in (1 << 40, MIB):
        copies = matched(pair.basis, pair.new, ranges=ranges)
        right(pair.basis, pair.new, copies)
        assert inserted(copies, pair.new) <= least_inserted(pair.basis, pair.new, BLOCK)


SIZES = [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1]


@pytest.mark.parametrize("block", [BLOCK, 5 * MIB])
@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_at_the_edges(size: int, block: int) -> None:
    data = noise(size, 1)
    same = matched(data, data, block)
    assert same == ([Copy(0, 0, size)] if size else [])
    for new, most in [
        (data[:-1], block),
        (data + b"x", 1),
        (b"x" + data, 1 + size % block * (size < block)),
        (data[1:], 2 * block),
        (data[: size // 2], block),
        (data + data, size % block),
        (noise(size, 2), size),
        (b"", 0),
    ]:
        copies = matched(data, new, block)
        right(data, new, copies)
        assert inserted(copies, new) <= most, len(new)


@pytest.mark.parametrize("tail", [1, 999, BLOCK - 1])
def test_the_short_last_block_is_found_where_the_file_ends_with_it_and_behind_its_block(tail: int) -> None:
    basis = noise(5 * BLOCK + tail, 3)
    for new, sent in [
        (basis + b"appended", 8),
        (b"prepended" + basis, 9),
        (basis[: 2 * BLOCK] + b"inserted" + basis[2 * BLOCK :], 8),
        (basis[BLOCK:], 0),
        (b"x" + basis + b"y", 2),
        (noise(BLOCK, 4) + basis[-tail:], BLOCK),
    ]:
        copies = matched(basis, new)
        right(basis, new, copies)
        assert inserted(copies, new) == sent


def test_a_last_block_of_one_byte_that_is_equal_by_chance_keeps_no_whole_block_from_being_found() -> None:
    basis = noise(4 * BLOCK, 5) + b"\0"
    moved = basis[: 2 * BLOCK]  # stands across the place where the basis has its last byte
    new = bytearray(noise(3 * BLOCK + 1000, 6) + moved + noise(BLOCK, 7))
    assert inserted(matched(basis, bytes(new)), bytes(new)) == len(new) - len(moved) > 0
    assert moved[BLOCK - 1000 : BLOCK - 999] != b"\0"
    basis = basis[:-1] + moved[BLOCK - 1000 : BLOCK - 999]
    copies = matched(basis, bytes(new))
    right(basis, bytes(new), copies)
    assert inserted(copies, bytes(new)) == len(new) - len(moved)
    new = bytearray(basis[:-1] + basis[-1:] + basis[1:])  # and behind its own block as well
    twice = basis[:-1] + moved[:1]
    new = bytearray(twice[:-1] + twice)  # its own last byte begins the second copy: the blocks there must not be lost
    copies = matched(twice, bytes(new))
    right(twice, bytes(new), copies)
    assert inserted(copies, bytes(new)) == 0


@pytest.mark.parametrize("shift", [0, 1, BLOCK // 2, BLOCK - 1])
def test_a_seam_at_any_multiple_loses_no_block(shift: int) -> None:
    basis = noise(4 * MIB, 8)
    new = noise(shift, 9) + basis
    for ranges in (MIB, 2 * MIB, 3 * MIB):
        copies = matched(basis, new, ranges=ranges)
        assert copies == [Copy(shift, 0, 4 * MIB)]


def test_ranges_read_no_more_than_a_block_beyond_their_end() -> None:
    basis, new = noise(4 * MIB, 8), noise(4 * MIB, 9)
    file = File(new)
    Matcher(signed(basis)).match(file.read, len(new), 0, MIB)
    assert file.furthest <= MIB + BLOCK
    with pytest.raises(ValueError, match="multiples"):
        Matcher(signed(basis)).match(file.read, len(new), 1, MIB)
    with pytest.raises(ValueError, match="multiples"):
        Matcher(signed(basis)).match(file.read, len(new), 0, MIB - BLOCK)


def test_what_is_unchanged_is_not_slid_over_and_what_changed_only_around_it() -> None:
    basis = noise(8 * MIB, 10)
    new = bytearray(basis)
    new[3 * MIB : 3 * MIB + 4096] = noise(4096, 11)
    matcher = Matcher(signed(basis))
    matcher.match(File(bytes(new)).read, len(new), 0, len(new))
    assert matcher.slid == 1  # the one position of a gap of one block
    file = File(basis)
    assert Matcher(signed(basis)).match(file.read, len(basis), 0, len(basis)).copies == [Copy(0, 0, 8 * MIB)]
    assert file.got == len(basis)


LEAST = 8 * BLOCK
OLD = noise(5 * MIB + 999, 20)
OLD_SIGNED = signed(OLD)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.just(-1), st.integers(0, 3 * MIB)) | st.tuples(st.integers(0, 4 * MIB), st.integers(1, 2 * MIB)),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([1 << 40, 4 * MIB, MIB]),
)
def test_no_copy_that_a_store_could_make_is_missed_where_it_is_only_probed_for(
    pieces: list[tuple[int, int]], ranges: int
) -> None:
    """Foreign bytes and stretches of the old file, of any length, at any place."""
    new = b"".join(noise(n, 21 + i) if at < 0 else OLD[at : at + n] for i, (at, n) in enumerate(pieces))
    found = {
        least: merge(
            copy
            for start in range(0, len(new), ranges)
            for copy in Matcher(OLD_SIGNED, least)
            .match(File(new).read, len(new), start, min(len(new), start + ranges))
            .copies
        )
        for least in (0, LEAST)
    }
    right(OLD, new, found[LEAST])
    for copy in found[0]:
        if copy.length >= LEAST or copy.end == len(new):
            mine = [c for c in found[LEAST] if c.at <= copy.at and c.end >= copy.end]
            assert [c.source - c.at for c in mine] == [copy.source - copy.at], copy


def test_the_shortest_copy_of_use_is_found_wherever_it_stands_and_across_a_seam() -> None:
    seam, foreign = 4 * MIB, noise(8 * MIB, 23)
    piece = OLD[BLOCK : BLOCK + LEAST]
    for at in range(seam - 2 * LEAST, seam + 2 * LEAST, BLOCK // 2 + 1):
        new = foreign[:at] + piece + foreign[at : 2 * seam - LEAST]
        copies = merge(
            copy
            for start in (0, seam)
            for copy in Matcher(OLD_SIGNED, LEAST).match(File(new).read, len(new), start, start + seam).copies
        )
        assert copies == [Copy(at, BLOCK, LEAST)], at


def test_what_has_nothing_to_copy_is_hardly_looked_at() -> None:
    new = noise(16 * MIB, 22)
    for least, most in ((0, len(new)), (32 * BLOCK, len(new) // 3)):  # at its seams it may go on elsewhere
        matcher = Matcher(OLD_SIGNED, least)
        assert matcher.match(File(new).read, len(new), 0, len(new)).copies == []
        assert 0.9 * (most if not least else 0) <= matcher.slid <= most


@pytest.mark.parametrize("block", [BLOCK, 512 * KIB, 3 * MIB])
def test_a_range_also_gives_the_new_file_s_own_signature(block: int) -> None:
    new = noise(10 * MIB + 77, 12)
    signature = signed(noise(5 * MIB, 13), block)
    found = [
        Matcher(signature).match(File(new).read, len(new), start, min(len(new), start + 6 * MIB))
        for start in range(0, len(new), 6 * MIB)
    ]
    hasher = BlockHasher(block)
    hasher.feed(new)
    digest = hasher.finish()
    assert b"".join(f.records for f in found) == bytes(hasher.records) == signed(new, block).records
    assert file_digest(f.leaves for f in found) == digest
    assert [f.crc64 for f in found] == [crc64nvme(new[: 6 * MIB]), crc64nvme(new[6 * MIB :])]


# repeats and floods


def test_zeros_are_found_whatever_their_number() -> None:
    zeros = bytes(6 * MIB + 5)
    for new in (bytes(9 * MIB), bytes(BLOCK), b"x" + bytes(3 * MIB), bytes(MIB) + b"x" + bytes(2 * MIB + 77)):
        began = time.monotonic()
        copies = matched(zeros, new)
        right(zeros, new, copies)
        assert inserted(copies, new) <= 2 * BLOCK
        assert time.monotonic() - began < 5


def flood(weak: list[int], size: int, seed: int = 0) -> Signature:
    """A signature with such weak hashes and strong ones that fit nothing."""
    rng = random.Random(seed)
    records = b"".join(struct.pack("<I", w) + rng.randbytes(32) for w in weak)
    return Signature(Header(Binding(size, "e"), BLOCK, bytes(32)), records)


def ends_soon(signature: Signature, new: bytes) -> Matcher:
    matcher = Matcher(signature)
    began = time.process_time()
    found = matcher.match(File(new).read, len(new), 0, len(new))
    used = time.process_time() - began
    assert found.copies == []
    assert used < 5 + len(new) / (20 * MIB), f"{used:.1f} CPU-s"
    return matcher


def test_a_signature_of_only_the_zero_block_s_weak_hash_is_given_up_soon() -> None:
    blocks = 1 << 17
    matcher = ends_soon(flood([crc32c(bytes(BLOCK))] * blocks, blocks * BLOCK), bytes(32 * MIB))
    assert matcher.confirmed_in_vain <= 64


def test_weak_hashes_that_all_fit_and_strong_ones_that_do_not_are_given_up_soon() -> None:
    new = noise(4 * MIB, 14)
    weak = [crc32c(new[i : i + BLOCK]) for i in range(1, 3 * MIB, 97)]  # 32,000 of the places really have them
    matcher = ends_soon(flood(weak, len(weak) * BLOCK), new)
    assert matcher.confirmed_in_vain * BLOCK <= (512 + 1 + 16 * 4) * MIB


def test_weak_hashes_chosen_to_crowd_the_table_make_neither_it_nor_the_search_slow() -> None:
    blocks = 1 << 17
    low = (1 << 32) - blocks  # were the places those of the high bits: all in the last few, and the rest behind them
    crowded = [(low + i) ^ plain(BLOCK) for i in range(blocks)]
    ends_soon(flood(crowded, blocks * BLOCK), noise(8 * MIB, 15))
    spread = [(i << 12 & 0xFFFFFFFF) ^ plain(BLOCK) for i in range(blocks)]
    ends_soon(flood(spread, blocks * BLOCK), noise(8 * MIB, 15))


def test_a_flooded_weak_hash_does_not_hide_the_block_that_really_has_it() -> None:
    new = noise(1000, 16) + noise(BLOCK, 17) + noise(1000, 18)
    piece = new[1000 : 1000 + BLOCK]
    bad = flood([crc32c(piece)] * 5000, 5000 * BLOCK).records
    records = bad + struct.pack("<I", crc32c(piece)) + blake3.blake3(piece).digest() + bad
    signature = Signature(Header(Binding(10_001 * BLOCK, "e"), BLOCK, bytes(32)), records)
    assert Matcher(signature).match(File(new).read, len(new), 0, len(new)).copies == [Copy(1000, 5000 * BLOCK, BLOCK)]


def test_pages_that_end_with_their_own_checksum_have_all_one_weak_hash_and_are_found() -> None:
    """A CRC over bytes and their CRC is always the same number: as in a database with pages of 4 KiB."""
    basis = b"".join((page := noise(4092, i)) + struct.pack("<I", crc32c(page)) for i in range(1024))
    assert len({signed(basis).records[i : i + 4] for i in range(0, 36 * 64, 36)}) == 1
    for cut in (1000, 4096):
        new = basis[:MIB] + basis[MIB + cut :]
        copies = matched(basis, new)
        right(basis, new, copies)
        assert inserted(copies, new) <= BLOCK


def test_every_block_of_many_is_found_alone() -> None:
    """One after another by the index, none by following the block before it."""
    blocks = [noise(BLOCK, i) for i in range(200)]
    basis = b"".join(blocks)
    order = list(range(200))
    random.Random(1).shuffle(order)
    new = b"x" + b"".join(blocks[i] for i in order)
    copies = matched(basis, new)
    right(basis, new, copies)
    assert inserted(copies, new) == 1


# the weak hash


@settings(deadline=None)
@given(st.binary(min_size=2, max_size=300), st.integers(1, 200))
def test_rolling_by_a_byte_is_hashing_again(data: bytes, window: int) -> None:
    window = min(window, len(data) - 1)
    register = crc32c(data[:window]) ^ plain(window)
    for i in range(len(data) - window):
        register = int((register >> 8) ^ arriving()[(register ^ data[i + window]) & 255] ^ leaving(window)[data[i]])
        assert register == crc32c(data[i + 1 : i + 1 + window]) ^ plain(window)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, (1 << 32) - 1) | st.integers((1 << 32) - 50, (1 << 32) - 1), max_size=300))
def test_the_index_finds_every_hash_that_it_has_and_no_other(weak: list[int]) -> None:
    strong = np.array([i // 2 for i in range(len(weak))], np.uint64)
    index = WeakIndex(np.array(weak, np.uint32), strong, BLOCK)
    for i, w in enumerate(weak):
        slot = slot_of(index, w)
        assert slot >= 0
        mine = [k for k in range(len(weak)) if weak[k] == w and strong[k] == strong[i]]
        assert list(index.blocks(slot, struct.pack("<Q", i // 2), 64)) == mine
        assert list(index.blocks(slot, b"\xff" * 8, 64)) == []
    for other in {0, 1, (1 << 32) - 1, 0x12345678} - set(weak):
        assert slot_of(index, other) == -1


def slot_of(index: WeakIndex, weak: int, instruction: bool | None = None) -> int:
    """By the loop, whose lanes all begin with it."""
    registers = np.full(LANES, weak ^ plain(BLOCK), np.uint32)
    where, slots = np.zeros(LANES, np.int32), np.zeros(LANES, np.int32)
    found = looked(np.zeros(BLOCK + LANES, np.uint8), 1, registers, index, where, slots, instruction)
    assert len({*found.tolist()}) == 1
    assert where.tolist() == (list(range(LANES)) if found[0] else [0] * LANES)
    return int(slots[0]) if found[0] else -1


@pytest.mark.parametrize("instruction", [True, False])
@given(seed=st.integers(0, 1000), lane=st.integers(1, 3000), kinds=st.integers(2, 256))
@settings(deadline=None, max_examples=30)
def test_the_loop_finds_what_hashing_each_window_anew_finds(
    instruction: bool, seed: int, lane: int, kinds: int
) -> None:
    """With the processor's instruction and with the table. A window of 64 bytes: of few kinds of bytes many are equal."""
    if instruction and not llvm.get_host_cpu_features().get("sse4.2"):
        pytest.skip("this processor has no instruction for it")
    window, random_ = 64, np.random.default_rng(seed)
    data = random_.integers(0, kinds, LANES * lane + window, np.uint8)
    windows = [crc32c(data.data[i : i + window]) for i in range(LANES * lane)]
    weak = np.array([*windows[:: 1 + seed % 7], *random_.integers(0, 1 << 32, 50)], np.uint32)
    index = WeakIndex(weak, np.arange(len(weak), dtype=np.uint64), window)
    index.forget(int(np.flatnonzero(index.known == np.uint32(np.uint64(windows[0] ^ plain(window)) * index.salt))[0]))
    where, slots = np.empty(LANES * lane, np.int32), np.empty(LANES * lane, np.int32)
    first = np.array([windows[i * lane] ^ plain(window) for i in range(LANES)], np.uint32)
    found = looked(data, lane, first, index, where, slots, instruction)
    known = set(weak.tolist()) - {windows[0]}
    for i in range(LANES):
        mine = slice(i * lane, i * lane + int(found[i]))
        assert where[mine].tolist() == [p for p in range(i * lane, (i + 1) * lane) if windows[p] in known]
        for p, slot in zip(where[mine].tolist(), slots[mine].tolist(), strict=True):
            assert weak[index.order[index.first[slot]]] == windows[p]


def test_the_loop_writes_to_nothing_that_has_no_room_for_what_it_may_find() -> None:
    index = WeakIndex(np.zeros(1, np.uint32), np.zeros(1, np.uint64), BLOCK)
    enough, registers = np.empty(10 * LANES, np.int32), np.zeros(LANES, np.uint32)
    data = np.zeros(BLOCK + 10 * LANES, np.uint8)
    looked(data, 10, registers, index, enough, enough.copy())
    for arguments in (
        (data, 0, registers, index, enough, enough),
        (data[1:], 10, registers, index, enough, enough),
        (data, 10, registers[1:], index, enough, enough),
        (data, 10, registers, index, enough[1:], enough),
        (data, 10, registers, index, enough, enough[1:]),
    ):
        with pytest.raises(ValueError, match="no room"):
            looked(*arguments)


# pure parts


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.integers(1, 20)), max_size=12))
def test_merged_copies_are_disjoint_in_order_and_cover_what_they_covered(raw: list[tuple[int, int, int]]) -> None:
    copies = [Copy(at, at + 100 * shift, n) for at, shift, n in raw]
    out = merge(copies)
    assert all(a.end <= b.at for a, b in pairwise(out))
    assert not any(a.end == b.at and a.shift == b.shift for a, b in pairwise(out))
    said = {(i, c.source + i - c.at) for c in copies for i in range(c.at, c.end)}
    kept = {(i, c.source + i - c.at) for c in out for i in range(c.at, c.end)}
    assert kept <= said
    assert {i for i, _ in kept} == {i for i, _ in said}
    size = 90
    left = {i for start, n in inserts(out, size) for i in range(start, start + n)}
    assert left == set(range(size)) - {i for i, _ in said}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.builds(Pair, bases(), edits()))
def test_copies_found_from_two_signatures_alone_are_right(pair: Pair) -> None:
    basis, new = pair.basis, pair.new
    copies = same_blocks(signed(basis).records, signed(new).records, len(basis), len(new), BLOCK)
    right(basis, new, copies)
    if basis == new:
        assert inserted(copies, new) == 0
