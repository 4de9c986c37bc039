"""Hostile bytes for every reader of ours whose input anybody may have written: ``fuzz_formats.py FORMAT [libFuzzer options]``.

FORMAT is hssig, hsdelta or intent. Each input is read as it comes and, where the format has a digest of itself, once more
with one that fits, or no input would get past it. What must hold: nothing but the format's own error comes out, memory
follows the bytes that are there, and what is accepted says the same when it is written again.
"""

from __future__ import annotations

import io
import json
import sys
import tracemalloc

import atheris

with atheris.instrument_imports(include=["hugesync_tasks"]):
    import blake3

    from hugesync_tasks.delta.container import BadDelta, DeltaReader
    from hugesync_tasks.model import Meta, Upload
    from hugesync_tasks.signature import format as hssig
    from hugesync_tasks.stages import intents
    from hugesync_tasks.stores.base import ANY
    from hugesync_tasks.stores.memory import MemoryStore
    from hugesync_tasks.token import Token

SLACK = 64 << 10  # bytes that a reader may need besides so many times what it was given
TIMES = 16


def resealed(data: bytes) -> bytes:
    return data[:-32] + blake3.blake3(data[:-32]).digest()


def read_signature(data: bytes) -> None:
    try:
        found = hssig.read(io.BytesIO(data).read, length=len(data))
    except hssig.Unusable:
        return
    assert b"".join(hssig.write(found.header, [found.records])) == data


def read_delta(data: bytes) -> None:
    try:
        delta = DeltaReader(io.BytesIO(data).read)
        size = sum(len(step) if isinstance(step, bytes) else step.length for step in delta)
    except BadDelta:
        return
    assert size == delta.ends.size


STORE, GENERATION = MemoryStore(), "0" * 32
INTENT = intents.intent_key("file", GENERATION, STORE)


def read_intent(data: bytes) -> None:
    """An intent leads to an upload of the very file, or to nothing."""
    STORE.put(INTENT, data, Meta(), ANY, Token())
    found = intents.adopt(STORE, "file", GENERATION, 100 << 20, Token())
    if found is not None:
        upload = found[0]
        assert (upload.key, upload.generation, upload.size) == ("file", GENERATION, 100 << 20)


def seeds(format: str) -> list[bytes]:
    if format == "hssig":
        header = hssig.Header(hssig.Binding(200_000, '"e"', "v", 7), 64 << 10, bytes(32), "hugesync", 1)
        return [b"".join(hssig.write(header, [bytes(4 * 36)]))]
    if format == "hsdelta":
        start = b"HSDELT\r\n" + bytes([1, 0]) + (100).to_bytes(8, "little") + bytes(32) + (5).to_bytes(8, "little")
        copied = bytes([1]) + (3).to_bytes(8, "little") + (2).to_bytes(8, "little")
        return [resealed(start + bytes(32) + copied + bytes([2]) + (3).to_bytes(8, "little") + b"abc\0" + bytes(32))]
    upload = STORE.create_upload("file", 100 << 20, 5 << 20, Meta(), Token())
    intents.put_intent(STORE, Upload("file", upload.id, GENERATION, 100 << 20, 5 << 20), Token())
    with STORE.open(INTENT, "", Token()) as reader:
        body = b"".join(reader)
    assert json.loads(body)["upload"] == upload.id
    return [body]


READERS = {"hssig": read_signature, "hsdelta": read_delta, "intent": read_intent}


def main() -> None:
    format = sys.argv.pop(1)
    reader = READERS[format]
    for seed in seeds(format):  # that the reader knows a good one
        reader(seed)

    def one(data: bytes) -> None:
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        reader(data)
        if format != "intent" and len(data) >= 32:
            reader(resealed(data))
        if format != "intent":  # bounded by its own length, and the fake that holds it grows
            used = tracemalloc.get_traced_memory()[1] - before
            assert used < TIMES * len(data) + SLACK, "memory follows a number, not bytes"

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        """libFuzzer's own, begun with a good one where it comes with nothing."""
        return atheris.Mutate(data if len(data) > 8 else seeds(format)[0][:most], most)

    tracemalloc.start()
    atheris.Setup([sys.argv[0], "-max_len=4096", *sys.argv[1:]], one, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
