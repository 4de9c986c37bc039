"""Parts made of the pieces that the old object was put together from."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hugesync_tasks.delta.match import Matched
from hugesync_tasks.delta.ops import Copy, merge
from hugesync_tasks.layout import IllegalLayout, uploaded
from hugesync_tasks.pieces import lay_pieces
from hugesync_tasks.stages.basis import Delta
from hugesync_tasks.stages.laying import lay
from hugesync_tasks.stores.base import KIB, MIB, Limits

BLOCKS = Limits("blocks", min_part=1, max_part=100, max_copy=100, max_parts=1000, part_copy="blocks")


@pytest.mark.parametrize("part_copy", ["whole", "blocks"])
def test_a_piece_is_taken_over_whatever_its_size(part_copy: str) -> None:
    """No part and no copy of a store may be as large as its objects, and a part may be larger than one copy."""
    limits = replace(BLOCKS, part_copy=part_copy, max_part=100, max_copy=50)
    size = 1000 if part_copy == "whole" else 99
    parts = lay_pieces([Copy(0, 0, size)], [(0, size)], size + 7, limits, 10, ranges=False)
    assert [(p.length, p.source) for p in parts[:1]] == [(size, 0)]
    assert uploaded(parts) == 7


def test_a_long_range_is_copied_in_steps_that_the_store_takes() -> None:
    parts = lay_pieces([Copy(0, 0, 950)], [], 950, replace(BLOCKS, max_copy=300), 10, ranges=True)
    assert [p.length for p in parts] == [100] * 9 + [50]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[Copy], list[tuple[int, int]], int]:
    lengths = draw(st.lists(st.integers(1, 30), max_size=12))
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    pieces = [p for p in zip(starts, lengths, strict=True) if draw(st.booleans())]
    copies, at = [], 0
    for _ in range(draw(st.integers(0, 5))):
        at += draw(st.integers(0, 40))
        length = draw(st.integers(1, 60))
        source = draw(st.integers(0, 200))
        copies.append(Copy(at, source, length))
        at += length
    return merge(copies), pieces, max(1, at + draw(st.integers(0, 40)))


@given(cases(), st.integers(1, 100), st.booleans())
def test_the_file_is_covered_and_all_that_can_be_taken_over_is(
    case: tuple[list[Copy], list[tuple[int, int]], int], step: int, ranges: bool
) -> None:
    copies, pieces, size = case
    parts = lay_pieces(copies, pieces, size, BLOCKS, step, ranges)
    known = {copy.at + i: copy.source + i for copy in copies for i in range(copy.length)}
    at = 0
    for part in parts:
        assert part.start == at
        at += part.length
        if part.source is not None:
            assert all(known[part.start + i] == part.source + i for i in range(part.length)), "only what is equal"
            assert ranges or (part.source, part.length) in pieces
        else:
            assert part.length <= step
    assert at == size
    whole = {
        (piece, copy.at + piece[0] - copy.source)
        for copy in copies
        for piece in pieces
        if copy.source <= piece[0] and piece[0] + piece[1] <= copy.source + copy.length
    }
    assert {((p.source, p.length), p.start) for p in parts if (p.source, p.length) in pieces} >= whole
    least = size - (len(known) if ranges else sum(piece[1] for piece, _ in whole))
    assert uploaded(parts) == least


def test_of_an_object_that_is_only_taken_over_whole_nothing_but_all_of_it_at_its_place_counts() -> None:
    whole = replace(BLOCKS, part_copy="whole", max_part=1000, max_copy=1000)
    parts = lay_pieces([Copy(0, 0, 500)], [(0, 500)], 730, whole, 100, False)
    assert [(p.start, p.length, p.source) for p in parts] == [
        (0, 500, 0),
        (500, 100, None),
        (600, 100, None),
        (700, 30, None),
    ]
    assert uploaded(lay_pieces([Copy(0, 0, 499)], [(0, 500)], 730, whole, 100, False)) == 730


def test_too_many_parts_and_a_store_with_a_least_size_are_refused() -> None:
    with pytest.raises(IllegalLayout):
        lay_pieces([], [], 1001, BLOCKS, 1, False)
    with pytest.raises(IllegalLayout):
        lay_pieces([], [], 10, replace(BLOCKS, min_part=5), 5, False)


def test_where_pieces_would_be_too_many_parts_fewer_copies_are_made_instead() -> None:
    """A file of 10,000 blocks changed in 300 places, at a store that takes 500 parts: not sent whole."""
    block, count = 64 * KIB, 10_000
    limits = replace(
        BLOCKS, part_copy="ranges", max_parts=500, max_part=4000 * MIB, max_copy=256 * MIB, copy_proof="crc64nvme"
    )
    changed = range(5, count, count // 300)
    edges = [-1, *changed, count]
    copies = [
        Copy((a + 1) * block, (a + 1) * block, (b - a - 1) * block) for a, b in itertools.pairwise(edges) if b - a > 1
    ]
    size, pieces = count * block, [(n * 16 * block, 16 * block) for n in range(count // 16)]
    delta = Delta("upload", "v", size, block, 64 * MIB, False)
    found = [Matched(0, size, copies)]
    laid = lay(delta, size, found, [], limits, 16 * MIB, 64 * MIB, pieces)
    assert laid is not None
    assert laid.total <= 500
    assert size // 2 < laid.delta.lent < size - 300 * block + 1
