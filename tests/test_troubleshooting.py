"""docs/troubleshooting.md quotes what is really said, and explains every refusal."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/troubleshooting.md"
HOLE = "…"
EXPLAINED = {"Refused", "Unreachable", "Stalled"}  # classes each of whose sentences must be on the page


def said(node: ast.expr | None) -> str:
    """What an expression says, ``HOLE`` for what differs."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(
                v.value if isinstance(v, ast.Constant) and isinstance(v.value, str) else HOLE for v in values
            )
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return said(left) + said(right)
    return HOLE


def trees() -> Iterator[ast.Module]:
    for package in ("hugesync_tasks", "producer/hugesync_producer", "worker/hugesync_worker"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield ast.parse(path.read_text())


def texts() -> set[str]:
    return {
        text
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.expr) and (text := said(node)) != HOLE and " " in text
    }


def raised(classes: set[str]) -> set[str]:
    """The sentences with which errors of these classes are made; those that only pass on another error's are left out."""
    calls = (
        node
        for tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes and node.args
    )
    return {text for call in calls if len("".join(pieces(text := said(call.args[0])))) > 12}


def pieces(text: str) -> list[str]:
    """The fragments between what differs, without blanks and colons at their ends."""
    return [stripped for piece in text.split(HOLE) if (stripped := piece.strip(" :;,.()"))]


def says(text: str, quoted: str) -> bool:
    """Whether every fragment of ``quoted`` is in ``text``, in this order."""
    at = 0
    for piece in pieces(quoted):
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return True


def quoted() -> list[str]:
    """The messages of the page: what is in backticks in the first column of the tables whose first column is one."""
    tables = PAGE.read_text().split("| message |")[1:]
    rows = [line for table in tables for line in table.split("\n\n")[0].splitlines()[2:]]
    return [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]


TEXTS = texts()


@pytest.mark.parametrize("message", quoted())
def test_a_quoted_message_is_one_of_the_codes_own(message: str) -> None:
    recognisable = len(max(pieces(message), key=len)) >= 6
    assert message in TEXTS or (recognisable and any(says(text, message) for text in TEXTS))


def test_each_section_has_messages() -> None:
    assert len(quoted()) > 100


@pytest.mark.parametrize("sentence", sorted(raised(EXPLAINED)))
def test_every_refusal_and_everything_unreachable_is_explained(sentence: str) -> None:
    assert any(says(sentence, message) for message in quoted()), "add a row to docs/troubleshooting.md"


def test_what_the_code_does_not_say_is_seen() -> None:
    assert not any(says(text, "the printer is on fire") for text in TEXTS)
    assert says("stalled: nothing moved for … s …", "nothing moved for … s")
    assert not says("nothing moved for … s", "… s nothing moved")
