"""Signatures: every byte of the format, everything a reader must refuse, and the hashes whatever the chunking."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import blake3
import pytest
from awscrt.checksums import crc32c
from hypothesis import given, settings
from hypothesis import strategies as st

from hugesync_tasks.signature import format as hssig
from hugesync_tasks.signature.blocks import (
    KIB,
    MAX_BLOCK,
    MAX_BLOCKS,
    MIB,
    RECORD,
    BlockHasher,
    allowed_block,
    auto_block,
    block_count,
    file_digest,
    least_block,
)
from hugesync_tasks.signature.format import Binding, Header, Signature, Unusable

TIB = 1 << 40
REPO = Path(__file__).parent.parent
CONTEXT = "hugesync file digest: BLAKE3 over the digests of 1 MiB leaves, version 1"
DIGEST = bytes(range(32))  # where no digest is looked at


def signature(size: int = 200_000, block: int = 64 * KIB, **of: object) -> Signature:
    """A signature of random records."""
    records = random.Random(size).randbytes(block_count(size, block) * RECORD)
    bound = Binding(size, **{"version": '"e1"', "mtime_ns": 1_700_000_000_123_456_789, **of})  # type: ignore[arg-type]
    return Signature(Header(bound, block, DIGEST, "hugesync 9", 1_700_000_001), records)


def packed(made: Signature) -> bytes:
    return b"".join(hssig.write(made.header, [made.records]))


def reader(data: bytes) -> Callable[[int], bytes]:
    return io.BytesIO(data).read


def resealed(data: bytes) -> bytes:
    """With a trailer that fits: what somebody writes who knows the format."""
    return data[:-32] + blake3.blake3(data[:-32]).digest()


VALID = packed(signature())
HEADER_END = 12 + struct.unpack_from("<H", VALID, 10)[0]


# every byte


def test_a_small_signature_is_these_bytes_as_the_documentation_has_them() -> None:
    data = bytes(range(256)) * 400  # 102,400 bytes: a block and a short one
    first, second = data[: 64 * KIB], data[64 * KIB :]
    leaf = blake3.blake3(data).digest()
    expected = b"".join(
        [
            b"HSSIG\r\n\x1a",
            (1).to_bytes(2, "little"),
            (111).to_bytes(2, "little"),  # 68 + (2 + 4) + (2 + 2) + (2 + 15) + (2 + 6) + (2 + 6)
            (102_400).to_bytes(8, "little"),
            (65_536).to_bytes(4, "little"),
            (2).to_bytes(8, "little"),
            (-1).to_bytes(8, "little", signed=True),
            (1_800_000_000).to_bytes(8, "little"),
            blake3.blake3(leaf, derive_key_context=CONTEXT).digest(),
            b'\x04\x00"e1"',
            b"\x02\x00v7",
            b"\x0f\x00hugesync 0.1.0\n",
            b"\x06\x00crc32c",
            b"\x06\x00blake3",
            crc32c(first).to_bytes(4, "little"),
            blake3.blake3(first).digest(),
            crc32c(second).to_bytes(4, "little"),
            blake3.blake3(second).digest(),
        ]
    )
    expected += blake3.blake3(expected).digest()

    hasher = BlockHasher(64 * KIB)
    hasher.feed(data)
    digest = hasher.finish()
    bound = Binding(len(data), '"e1"', "v7", -1)
    header = Header(bound, 64 * KIB, digest, "hugesync 0.1.0\n", 1_800_000_000)
    written = b"".join(hssig.write(header, [bytes(hasher.records)]))

    assert written == expected
    assert header.length == len(expected)


def test_the_documented_example_is_what_is_written() -> None:
    """docs/hssig.md shows the signature of an empty file."""
    said = (REPO / "docs/hssig.md").read_text().partition("signature of an empty file")[2].split("```")[1]
    shown = "".join(line[:48] for line in said.splitlines()[1:]).replace(" ", "")
    digest = BlockHasher(64 * KIB).finish()
    assert b"".join(hssig.write(Header(Binding(0, "e"), 64 * KIB, digest), [])).hex() == shown
    assert digest == blake3.blake3(b"", derive_key_context=CONTEXT).digest()


texts = st.text(max_size=60)


@given(
    size=st.one_of(st.integers(0, 3 * MIB), st.sampled_from([64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 5 * MIB])),
    block=st.sampled_from([64 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, MIB, 3 * MIB, 5 * MIB]),
    version=texts,
    version_id=texts,
    creator=texts,
    mtime=st.none() | st.integers(-(1 << 63) + 1, (1 << 63) - 1),
    made_at=st.integers(0, (1 << 64) - 1),
    cut=st.integers(1, 500),
)
def test_what_is_written_is_read_whatever_the_pieces(
    size: int, block: int, version: str, version_id: str, creator: str, mtime: int | None, made_at: int, cut: int
) -> None:
    records = random.Random(size).randbytes(block_count(size, block) * RECORD)
    header = Header(Binding(size, version, version_id, mtime), block, bytes(32), creator, made_at)
    pieces = [records[i : i + cut] for i in range(0, len(records), cut)]
    data = b"".join(hssig.write(header, pieces))
    assert hssig.read(reader(data), length=len(data)) == Signature(header, records)
    assert header.length == len(data)


@pytest.mark.parametrize("pieces", [[], [bytes(RECORD * 4 - 1)], [bytes(RECORD * 4), b"x"], [bytes(RECORD * 5)]])
def test_a_writer_refuses_records_that_are_not_those_of_the_header(pieces: list[bytes]) -> None:
    with pytest.raises(ValueError, match="short"):
        list(hssig.write(signature().header, pieces))


def test_a_writer_refuses_what_no_reader_would_take() -> None:
    good = signature().header
    bad = [
        replace(good, block=96 * KIB),
        replace(good, block=6 * MIB),  # larger than any block need be
        replace(good, digest=bytes(31)),
        replace(good, weak="adler"),
        replace(good, creator="x" * 1025),
        replace(good, binding=Binding(64 * KIB * MAX_BLOCKS + 1)),
        replace(good, binding=Binding(-1)),
        replace(good, binding=Binding(1 << 62)),
    ]
    for header in bad:
        with pytest.raises(ValueError):
            next(hssig.write(header, []))


# what a reader refuses


def refused(data: bytes, expect: Binding | None = None, length: int | None = None) -> str:
    with pytest.raises(Unusable) as caught:
        hssig.read(reader(data), expect, length)
    return str(caught.value)


def test_cut_off_at_any_byte_it_is_unusable() -> None:
    for n in range(len(VALID)):
        refused(VALID[:n])


def test_every_flipped_bit_is_noticed() -> None:
    for i in range(len(VALID)):
        for bit in range(8):
            refused(VALID[:i] + bytes([VALID[i] ^ 1 << bit]) + VALID[i + 1 :])


def test_foreign_magic_and_another_version_are_told_apart() -> None:
    assert "no signature" in refused(b"rs\x016" + VALID[4:])
    assert "version 2" in refused(resealed(VALID[:8] + b"\x02\x00" + VALID[10:]))


def test_bytes_behind_its_end_or_a_length_that_does_not_fit_make_it_unusable() -> None:
    assert "follows" in refused(VALID + b"\x00")
    assert "means" in refused(VALID, length=len(VALID) + 1)


def test_another_header_length_is_refused_although_all_else_fits() -> None:
    for n in (0, 67, HEADER_END - 13, HEADER_END - 11, 8 * KIB + 1, 0xFFFF):
        refused(resealed(VALID[:10] + struct.pack("<H", n) + VALID[12:]))


SIZE, BLOCK, BLOCKS = (12, "<Q"), (20, "<I"), (24, "<Q")


@pytest.mark.parametrize(
    ("place", "value"),
    [(BLOCKS, n) for n in (0, 3, 5, 1 << 20, 1 << 31, 1 << 63, (1 << 64) - 1)]
    + [(BLOCK, n) for n in (0, 1, 65_535, 65_537, 96 * KIB, 6 * MIB, (1 << 32) - 1)]
    + [(SIZE, n) for n in (0, 1 << 20, 1 << 62, 1 << 63, (1 << 64) - 1)],
)
def test_numbers_that_do_not_fit_each_other_are_refused(place: tuple[int, str], value: int) -> None:
    at, kind = place
    forged = bytearray(VALID)
    struct.pack_into(kind, forged, at, value)
    assert "numbers" in refused(resealed(bytes(forged)))


def forged_header(size: int, block: int, blocks: int) -> bytes:
    fixed = struct.pack("<QIQqQ32s", size, block, blocks, 0, 0, bytes(32))
    header = fixed + b"".join(struct.pack("<H", len(t)) + t for t in (b"e", b"", b"", b"crc32c", b"blake3"))
    return b"HSSIG\r\n\x1a" + struct.pack("<HH", 1, len(header)) + header


@pytest.mark.parametrize("block", [6 * MIB, 64 * MIB, 4095 * MIB])
def test_blocks_larger_than_need_be_are_refused_because_a_matcher_would_hold_them(block: int) -> None:
    assert "numbers" in refused(forged_header(16 << 30, block, block_count(16 << 30, block)))
    assert hssig.read_header(reader(forged_header(6 * TIB, 6 * MIB, MAX_BLOCKS)))[0].block == 6 * MIB


def test_a_claim_of_many_blocks_costs_no_memory_before_they_come() -> None:
    claim = forged_header(5 * TIB, 5 * MIB, MAX_BLOCKS)
    tracemalloc.start()
    try:
        refused(claim + bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


def test_the_largest_signature_is_read_in_twice_its_memory() -> None:
    made = Signature(
        replace(signature().header, binding=Binding(5 * TIB, "e"), block=5 * MIB), bytes(MAX_BLOCKS * RECORD)
    )
    data = packed(made)
    tracemalloc.start()
    try:
        hssig.read(reader(data))
        assert tracemalloc.get_traced_memory()[1] < 2.3 * len(data)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "texts",
    [
        [b"e", b"", b"", b"crc32c"],
        [b"e", b"", b"", b"crc32c", b"blake3", b""],
        [b"\xff\xfe", b"", b"", b"crc32c", b"blake3"],
        [b"e", b"", b"", b"adler32", b"blake3"],
        [b"e", b"", b"", b"crc32c", b"md5"],
        [b"e" * 1025, b"", b"", b"crc32c", b"blake3"],
    ],
)
def test_texts_that_are_missing_foreign_too_long_or_no_text_are_refused(texts: list[bytes]) -> None:
    fixed = struct.pack("<QIQqQ32s", 0, 64 * KIB, 0, 0, 0, bytes(32))
    header = fixed + b"".join(struct.pack("<H", len(t)) + t for t in texts)
    refused(resealed(b"HSSIG\r\n\x1a" + struct.pack("<HH", 1, len(header)) + header + bytes(32)))


BOUND = Binding(200_000, '"e1"', "v1", 5)


@pytest.mark.parametrize(
    ("found", "expect", "fits"),
    [
        (BOUND, BOUND, True),
        (BOUND, replace(BOUND, mtime_ns=6), True),  # a store's version alone decides: a mtime can be set back
        (BOUND, replace(BOUND, version_id=""), True),  # a store that does not say it
        (replace(BOUND, version_id=""), BOUND, True),  # or did not, when it was made
        (BOUND, replace(BOUND, version='"e2"'), False),
        (BOUND, replace(BOUND, version_id="v2"), False),
        (BOUND, replace(BOUND, version=""), False),
        (replace(BOUND, version=""), BOUND, False),
        (BOUND, replace(BOUND, size=200_001), False),
        (Binding(200_000, mtime_ns=5), Binding(200_000, mtime_ns=5), True),
        (Binding(200_000, mtime_ns=5), Binding(200_000, mtime_ns=6), False),
        (Binding(200_000, mtime_ns=5), Binding(200_000), False),
        (Binding(200_000), Binding(200_000), False),  # a size alone binds nothing
    ],
)
def test_a_signature_of_another_version_of_the_object_is_unusable(found: Binding, expect: Binding, fits: bool) -> None:
    data = packed(Signature(replace(signature().header, binding=found), signature().records))
    if fits:
        assert hssig.read(reader(data), expect).header.binding == found
    else:
        assert "another version" in refused(data, expect)


# fuzz


@st.composite
def mangled(draw: st.DrawFn) -> bytes:
    """A valid file that was changed in up to four places, half of them with a trailer that fits again."""
    data = bytearray(VALID)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, HEADER_END) | st.integers(0, len(data)))
        until = min(len(data), at + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["flip", "insert", "delete", "splice", "number"])):
            case "flip":
                for i in range(at, until):
                    data[i] ^= draw(st.integers(1, 255))
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "delete":
                del data[at:until]
            case "splice":
                start = draw(st.integers(0, len(VALID)))
                data[at:until] = VALID[start : start + draw(st.integers(0, 300))]
            case "number":
                number = draw(st.sampled_from([0, 1, 255, 1 << 15, 1 << 16, 1 << 31, 1 << 63, (1 << 64) - 1]))
                width = draw(st.sampled_from([2, 4, 8]))
                data[at : at + width] = (number & ((1 << 8 * width) - 1)).to_bytes(width, "little")
    return resealed(bytes(data)) if draw(st.booleans()) and len(data) >= 32 else bytes(data)


@settings(max_examples=1500, deadline=None)
@given(mangled())
def test_mangled_files_are_unusable_or_say_what_the_format_allows(data: bytes) -> None:
    try:
        made = hssig.read(reader(data))
    except Unusable:
        return
    assert packed(made) == data  # nothing was read that is not written back: no second way to say a thing
    assert len(made.records) == made.header.blocks * RECORD


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_no_bytes_at_all_make_a_reader_fail_otherwise(data: bytes) -> None:
    for start in (data, VALID[:8] + data, VALID[:12] + data, VALID[:80] + data):
        try:
            hssig.read(reader(start))
        except Unusable:
            pass


# blocks


@pytest.mark.parametrize(
    ("size", "block"),
    [
        (0, 64 * KIB),
        (1, 64 * KIB),
        (64 * KIB, 64 * KIB),
        # 16 · B² = 36 · size: the rule's edges
        (64 * KIB * 64 * KIB * 16 // 36, 64 * KIB),
        (64 * KIB * 64 * KIB * 16 // 36 + 1, 128 * KIB),
        (MIB * MIB * 16 // 36, MIB),
        (MIB * MIB * 16 // 36 + 1, 2 * MIB),
        (2 * MIB * 2 * MIB * 16 // 36, 2 * MIB),
        (2 * MIB * 2 * MIB * 16 // 36 + 1, 4 * MIB),
        (4 * TIB, 4 * MIB),
        (4 * TIB + 1, 5 * MIB),  # no more than 2²⁰ blocks
        (5 * TIB, 5 * MIB),
        (5 * TIB + 1, 6 * MIB),
        (50 * TIB, 50 * MIB),
    ],
)
def test_the_automatic_block_size_at_its_edges(size: int, block: int) -> None:
    assert auto_block(size) == block


@given(st.integers(0, 1 << 61) | st.integers(0, 61).map(lambda n: 1 << n), st.integers(-2, 2))
def test_the_automatic_block_size_is_always_allowed_and_never_more_than_the_records_that_fit(
    size: int, more: int
) -> None:
    size = max(0, size + more)
    block = auto_block(size)
    assert allowed_block(block)
    assert block_count(size, block) <= MAX_BLOCKS
    assert block <= MAX_BLOCK or size > 5 * TIB
    least = least_block(size)
    assert allowed_block(least)
    assert block_count(size, least) <= MAX_BLOCKS
    assert least <= block
    smaller = least // 2 if least <= MIB else least - MIB
    assert least == 64 * KIB or block_count(size, smaller) > MAX_BLOCKS


@pytest.mark.parametrize("block", [64 * KIB, 512 * KIB, MIB, 3 * MIB, 5 * MIB])
@pytest.mark.parametrize(
    "size", [0, 1, 64 * KIB - 1, 64 * KIB + 1, MIB - 1, MIB + 1, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1, 7 * MIB]
)
def test_hashing_in_chunks_is_hashing_the_whole(size: int, block: int) -> None:
    data = random.Random(size).randbytes(size)
    records = b"".join(
        struct.pack("<I", crc32c(data[i : i + block])) + blake3.blake3(data[i : i + block]).digest()
        for i in range(0, size, block)
    )
    leaves = b"".join(blake3.blake3(data[i : i + MIB]).digest() for i in range(0, size, MIB))
    rng = random.Random(block)
    for largest in (700_000, 64 * KIB, 8 * MIB):
        hasher = BlockHasher(block)
        at = 0
        while at < size:
            n = rng.choice([1, 4095, 64 * KIB, MIB, rng.randrange(1, largest + 1)])
            hasher.feed(memoryview(data)[at : at + n])
            hasher.feed(b"")
            at += n
        digest = hasher.finish()
        assert (hasher.size, bytes(hasher.records), bytes(hasher.leaves)) == (size, records, leaves)
        assert digest == file_digest([leaves])


def test_the_file_digest_is_of_the_bytes_and_of_their_order() -> None:
    a, b = bytes(MIB), bytes(MIB - 1) + b"\x01"
    digests = []
    for data in (a + b, b + a, a + a, a):
        hasher = BlockHasher(64 * KIB)
        hasher.feed(data)
        digests.append(hasher.finish())
    assert len(set(digests)) == 4
