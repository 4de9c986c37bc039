"""The one loop over every byte, as LLVM's assembly. ``llvmlite`` makes it machine code for this processor, in 0.05 s of CPU; loading
it takes 0.1 s more, so this module is imported only where something must be slid over. Nothing is kept for the next process.

16,384 blocks in the filter, an Intel Xeon, CPU seconds for a GiB: 1.10; with the table instead of the instruction 1.48; with the table
and numba 2.03, after 0.8 s to load it and 2 s to compile.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import CFUNCTYPE, c_uint32, c_uint64, c_void_p
from functools import cache

import llvmlite.binding as llvm

LANES = 3  # windows that move side by side: 1.10 s a GiB and 1.48 with the table, 2: 1.03 and 1.85, 4: 1.26 and 1.49, 5: 1.23 and 1.54

# Writes down a position whose register is known. Apart from the loop, so that what it needs keeps no register there.
_NOTE = """
define internal void @note(i32 %bits, i32 %register, i64 %position, i64 %first, ptr %count, ptr %table, i32 %table_shift, i64 %last,
                           i32 %salt, ptr %known, ptr %alive, ptr %where, ptr %slots) noinline {
  %bit = trunc i32 %bits to i1
  br i1 %bit, label %look, label %end
look:
  %mixed = mul i32 %register, %salt
  %high = lshr i32 %mixed, %table_shift
  %begin = zext i32 %high to i64
  br label %probe
probe:
  %at = phi i64 [ %begin, %look ], [ %after, %other ]
  %slot_at = getelementptr inbounds i32, ptr %table, i64 %at
  %slot = load i32, ptr %slot_at
  %empty = icmp slt i32 %slot, 0
  br i1 %empty, label %end, label %compare
compare:
  %number = zext i32 %slot to i64
  %hash_at = getelementptr inbounds i32, ptr %known, i64 %number
  %hash = load i32, ptr %hash_at
  %equal = icmp eq i32 %hash, %mixed
  br i1 %equal, label %same, label %other
other:
  %next = add i64 %at, 1
  %over = icmp ugt i64 %next, %last
  %after = select i1 %over, i64 0, i64 %next
  br label %probe
same:
  %alive_at = getelementptr inbounds i8, ptr %alive, i64 %number
  %lives = load i8, ptr %alive_at
  %dead = icmp eq i8 %lives, 0
  br i1 %dead, label %end, label %write
write:
  %n = load i64, ptr %count
  %to = add i64 %first, %n
  %where_at = getelementptr inbounds i32, ptr %where, i64 %to
  %position32 = trunc i64 %position to i32
  store i32 %position32, ptr %where_at
  %slots_at = getelementptr inbounds i32, ptr %slots, i64 %to
  store i32 %slot, ptr %slots_at
  %more = add i64 %n, 1
  store i64 %more, ptr %count
  br label %end
end:
  ret void
}
"""

_LOOP = """
define void @slide(ptr %data, i64 %window, i64 %lane, ptr %registers, ptr %arriving, ptr %leaving, ptr %filter, i32 %filter_shift,
                   ptr %table, i32 %table_shift, i64 %last, i32 %salt, ptr %known, ptr %alive, ptr %where, ptr %slots, ptr %found) {{
entry:
  {entry}
  br label %loop
loop:
  %p = phi i64 [ 0, %entry ], [ %p_next, %step ]
  {filter}
  %hit = trunc i32 %any{last_lane} to i1
  br i1 %hit, label %note, label %step, !prof !0
note:
  {note}
  br label %step
step:
  {step}
  %p_next = add nuw i64 %p, 1
  %goes_on = icmp ult i64 %p_next, %lane
  br i1 %goes_on, label %loop, label %done
done:
  ret void
}}
!0 = !{{!"branch_weights", i32 1, i32 40}}
"""

_ENTRY = """
  %register_at{i} = getelementptr inbounds i32, ptr %registers, i64 {i}
  %register{i} = load i32, ptr %register_at{i}
  %count{i} = getelementptr inbounds i64, ptr %found, i64 {i}
  %first{i} = mul i64 %lane, {i}
  %old_lane{i} = getelementptr inbounds i8, ptr %data, i64 %first{i}
  %new_lane{i} = getelementptr inbounds i8, ptr %old_lane{i}, i64 %window"""

_PHI = """
  %c{i} = phi i32 [ %register{i}, %entry ], [ %c_next{i}, %step ]"""

# One branch for all lanes: most often none of their registers is in the filter. Its bits: the register's high ones name the word,
# its low ones the bit.
_FILTER = """
  %high{i} = lshr i32 %c{i}, %filter_shift
  %word{i} = zext i32 %high{i} to i64
  %word_at{i} = getelementptr inbounds i32, ptr %filter, i64 %word{i}
  %bits{i} = load i32, ptr %word_at{i}
  %low{i} = and i32 %c{i}, 31
  %set{i} = lshr i32 %bits{i}, %low{i}
  %any{i} = or i32 {before}, %set{i}"""

_CALL = """
  %position{i} = add i64 %first{i}, %p
  call void @note(i32 %set{i}, i32 %c{i}, i64 %position{i}, i64 %first{i}, ptr %count{i}, ptr %table, i32 %table_shift, i64 %last,
                  i32 %salt, ptr %known, ptr %alive, ptr %where, ptr %slots)"""

_NEW = """
  %new_at{i} = getelementptr inbounds i8, ptr %new_lane{i}, i64 %p
  %new{i} = load i8, ptr %new_at{i}"""

_OLD = """
  %old_at{i} = getelementptr inbounds i8, ptr %old_lane{i}, i64 %p
  %old{i} = load i8, ptr %old_at{i}
  %old_byte{i} = zext i8 %old{i} to i64
  %leaves_at{i} = getelementptr inbounds i32, ptr %leaving, i64 %old_byte{i}
  %leaves{i} = load i32, ptr %leaves_at{i}
  %c_next{i} = xor i32 %arrived{i}, %leaves{i}"""

_BY_INSTRUCTION = """
  %arrived{i} = call i32 @llvm.x86.sse42.crc32.32.8(i32 %c{i}, i8 %new{i})"""

_BY_TABLE = """
  %new_byte{i} = zext i8 %new{i} to i32
  %mixed{i} = xor i32 %c{i}, %new_byte{i}
  %entry32{i} = and i32 %mixed{i}, 255
  %entry{i} = zext i32 %entry32{i} to i64
  %arrives_at{i} = getelementptr inbounds i32, ptr %arriving, i64 %entry{i}
  %arrives{i} = load i32, ptr %arrives_at{i}
  %shifted{i} = lshr i32 %c{i}, 8
  %arrived{i} = xor i32 %shifted{i}, %arrives{i}"""


_INSTRUCTION = "declare i32 @llvm.x86.sse42.crc32.32.8(i32, i8)\n"


def source(instruction: bool) -> str:
    """The loop in LLVM's assembly; ``instruction``: the processor has one for CRC-32C (SSE 4.2)."""

    def lanes(text: str) -> str:
        return "".join(text.format(i=i, before=f"%any{i - 1}" if i else "0") for i in range(LANES))

    step = _NEW + (_BY_INSTRUCTION if instruction else _BY_TABLE) + _OLD
    loop = _LOOP.format(
        entry=lanes(_ENTRY),
        filter=lanes(_PHI) + lanes(_FILTER),
        note=lanes(_CALL),
        step=lanes(step),
        last_lane=LANES - 1,
    )
    return (_INSTRUCTION if instruction else "") + _NOTE + loop


@cache
def compiled(instruction: bool | None) -> Callable[..., None]:
    """``slide`` of ``source`` as machine code, with a C caller's addresses and numbers; it takes no GIL, and looks at no bound.

    ``instruction``: as ``source`` takes it; None = what this processor has.
    """
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=features.flatten(), opt=3, jit=True
    )
    # LLVM ends the process over an instruction that the processor does not have: never ask for it unseen
    has = features.get("sse4.2", False) if instruction is None else instruction
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(source(has)), machine)
    engine.finalize_object()
    address, number, short = c_void_p, c_uint64, c_uint32
    kind = CFUNCTYPE(
        None, address, number, number, address, address, address, address, short, address, short, number, short,
        address, address, address, address, address,
    )  # fmt: skip
    loop = kind(engine.get_function_address("slide"))

    def slide(*arguments: int, keep: object = engine) -> None:  # the code lives as long as its engine
        loop(*arguments)

    return slide
