"""Outcome counters, and the law they obey: found = done + skipped + failed + pending, for files and for bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

FILES = ("found", "done", "skipped", "failed", "pending", "deleted", "missing")
BYTES = ("found", "done", "skipped", "failed", "pending")
REASONS = ("same", "filtered", "special", "existing")


def _zero(names: tuple[str, ...]) -> dict[str, int]:
    return dict.fromkeys(names, 0)


@dataclass(slots=True)
class Tally:
    """Counts files (links and special files too, folders never) and their planned sizes in bytes."""

    files: dict[str, int] = field(default_factory=lambda: _zero(FILES))
    skipped_by: dict[str, int] = field(default_factory=lambda: _zero(REASONS))
    bytes: dict[str, int] = field(default_factory=lambda: _zero(BYTES))

    def find(self, outcome: str, size: int, reason: str = "") -> None:
        """One more file of ``size`` bytes was found: it is "pending", "failed", or "skipped" for ``reason``."""
        self._one("found", size)
        self._one(outcome, size)
        if outcome == "skipped":
            self.skipped_by[reason] += 1

    def settle(self, outcome: str, size: int, reason: str = "") -> None:
        """A pending file of ``size`` planned bytes became "done", "failed", or "skipped" for ``reason``."""
        self.files["pending"] -= 1
        self.bytes["pending"] -= size
        self._one(outcome, size)
        if outcome == "skipped":
            self.skipped_by[reason] += 1

    def _one(self, outcome: str, size: int) -> None:
        self.files[outcome] += 1
        self.bytes[outcome] += size

    def add(self, other: Tally) -> None:
        for mine, theirs in ((self.files, other.files), (self.skipped_by, other.skipped_by), (self.bytes, other.bytes)):
            for name, n in theirs.items():
                mine[name] += n

    def copy(self) -> Tally:
        return Tally(dict(self.files), dict(self.skipped_by), dict(self.bytes))

    def broken(self) -> str | None:
        """What contradicts the law, as a sentence, or None."""
        for name, counts in (("files", self.files), ("bytes", self.bytes)):
            parts = counts["done"] + counts["skipped"] + counts["failed"] + counts["pending"]
            if counts["found"] != parts or any(n < 0 for n in counts.values()):
                return f"{name} do not add up: {counts}"
        if sum(self.skipped_by.values()) != self.files["skipped"]:
            return f"skipped files do not add up: {self.files['skipped']} by {self.skipped_by}"
        return None

    def assert_law(self) -> None:
        """Raise AssertionError (also under ``python -O``) where the counts do not add up."""
        if wrong := self.broken():
            raise AssertionError(wrong)

    def wire(self) -> dict[str, Any]:
        return {"files": dict(self.files), "skipped_by": dict(self.skipped_by), "bytes": dict(self.bytes)}

    @classmethod
    def unwire(cls, w: dict[str, Any]) -> Tally:
        tally = cls()
        tally.add(cls(w["files"], w["skipped_by"], w["bytes"]))
        return tally
