"""Block ids of ours and block lists, pure.

An id is 33 bytes, all of one length as Azure demands, 44 letters of base64 without padding:

    form 1 | generation 16 | part number 4 | size 4 | CRC64NVME 8        (big-endian)

So a block says by itself whose it is, where it belongs and what it holds, and an id never names two different contents:
``Latest`` in a block list is then the same as saying whether a block is new or was committed before, and a list keeps its
order, which the SDK's own loses. ``form`` 0xA5: the service itself checked the CRC when it took the block; 0xA4: nobody knows
its CRC (copied within the service without one), the field is 0.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Iterable
from typing import NamedTuple
from xml.etree import ElementTree

from hugesync_tasks.model import Part

_CHECKED, _UNKNOWN = 0xA5, 0xA4
_FORM = struct.Struct(">B16sIIQ")
_LETTERS = _FORM.size // 3 * 4


class Block(NamedTuple):
    """What an id of ours says. ``crc64`` None: of form 0xA4."""

    generation: str  # 32 hex digits
    number: int
    size: int
    crc64: int | None

    def id(self) -> str:
        """As it stands on the wire."""
        form, crc64 = (_UNKNOWN, 0) if self.crc64 is None else (_CHECKED, self.crc64)
        packed = _FORM.pack(form, bytes.fromhex(self.generation), self.number, self.size, crc64)
        return base64.b64encode(packed).decode()

    def part(self, id: str, number: int | None = None) -> Part:
        return Part(self.number if number is None else number, self.size, id, self.crc64)


class Listed(NamedTuple):
    """One block as the service lists it."""

    id: str
    size: int


class BlockList(NamedTuple):
    """``version``: the blob's ETag, "" where nothing is committed."""

    committed: list[Listed]
    uncommitted: list[Listed]
    version: str
    size: int  # bytes of what is committed


def is_of_our_length(id: str) -> bool:
    return len(id) == _LETTERS and not id.endswith("=")


def block_of(id: str) -> Block | None:
    """What an id says; None where it is not of ours."""
    try:
        raw = base64.b64decode(id, validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(raw) != _FORM.size:
        return None
    form, generation, number, size, crc64 = _FORM.unpack(raw)
    if form not in (_CHECKED, _UNKNOWN):
        return None
    return Block(generation.hex(), number, size, crc64 if form == _CHECKED else None)


def ours(listed: Iterable[Listed], generation: str = "") -> list[tuple[str, Block]]:
    """(id, block) of those whose ids are of ours and true to the size; of one ``generation`` where one is named."""
    found = [(one.id, block_of(one.id), one.size) for one in listed]
    return [
        (id, block)
        for id, block, size in found
        if block is not None and block.size == size and generation in ("", block.generation)
    ]


def list_xml(ids: Iterable[str]) -> bytes:
    """The body of Put Block List: these blocks, in this order."""
    blocks = "".join(f"<Latest>{id}</Latest>" for id in ids)
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode()


def blocks_of(root: ElementTree.Element, version: str, size: int) -> BlockList:
    """An answer of Get Block List."""

    def of(name: str) -> list[Listed]:
        return [
            Listed(item.findtext("Name") or "", int(item.findtext("Size") or 0))
            for item in root.iterfind(f"{name}/Block")
        ]

    return BlockList(of("CommittedBlocks"), of("UncommittedBlocks"), version, size)
