"""Generated trees and filter rules, what the real rsync makes of them, and what we do. ``python tests/rsync_cases.py`` records
``rsync_cases.json``, which ``test_rsync_filters.py`` plays again without rsync."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from hugesync_producer.cli_inputs import Inputs, filter_rules
from hugesync_producer.filters import Filter
from hugesync_producer.join import join
from hugesync_producer.planfeed import extras_of, listings
from hugesync_tasks.model import LINK_SUFFIX, Kind, Removal
from hugesync_tasks.names import decode_name
from hugesync_tasks.spec import Location, Options, Selection, Spec
from hugesync_tasks.stages.context import JobContext
from hugesync_tasks.stores.local import LocalStore
from hugesync_tasks.token import Meter

RECORDED = Path(__file__).with_name("rsync_cases.json")
CASES = 150
_FILES = (b"a", b"b.o", b"ab", b"b.c", b"-x", b"#n", b"a b", b"[z]", b"A", b"caf\xe9", b"x\xff\xfe", b"core")
_FOLDERS = (b"d", b"da", b"a.d", b"CVS", b"D e", b"f\xe9")
_ACCENTED = (
    "\u00e9".encode(),
    "o\u0308.o".encode(),
)  # rsync's ? and [ ] count bytes, ours characters: only without them
_PLAIN = ("a", "d", "da", "*", "*.o", "a*", "**", "d**", "caf*", "*\udce9", "A", "[z]", "a b", "core", "\u00e9", "*.?")
_WILD = (
    "?",
    "[a-c]",
    "[!a]*",
    "[[:alpha:]]",
    "\\[z]",
    "d?",
    "[^.]*",
    "caf?",
    "??*",
    "b.[co]",
    "[z-a]",
    "[a\\-x]*",
    "a**b",
)
_RULES = ("- ", "- ", "- ", "+ ", "+ ", "-! ", "H ", "S ", "P ", "R ", "-s ", "-r ", "-p ", "-sr ", "+p ", "-rp ", "hide ",
          "exclude,! ", "-_", "protect,p_", "include ", "+s ", "+r ", "-! ")  # fmt: skip


@dataclass
class Case:
    """``source`` and ``dest``: path -> kind (f, d, l), parents first. ``rules``: (option, value); {root} is where both lie."""

    source: dict[bytes, str]
    dest: dict[bytes, str]
    rules: list[tuple[str, str]]
    delete: str = ""  # "" | "delete" | "excluded"
    merged: list[str] = field(default_factory=list)  # rules of a file called "merged"

    def wire(self) -> dict[str, Any]:
        trees = [{os.fsdecode(path): kind for path, kind in tree.items()} for tree in (self.source, self.dest)]
        return {"source": trees[0], "dest": trees[1], "rules": self.rules, "delete": self.delete, "merged": self.merged}

    @classmethod
    def unwire(cls, w: dict[str, Any]) -> Case:
        trees = [{os.fsencode(path): kind for path, kind in w[name].items()} for name in ("source", "dest")]
        return cls(trees[0], trees[1], [(o, v) for o, v in w["rules"]], w["delete"], w["merged"])


def generated(rng: Random) -> Case:
    accented = rng.random() < 0.3
    patterns = _PLAIN if accented else _PLAIN + _WILD
    universe: dict[bytes, str] = {}
    for _ in range(rng.randrange(4, 16)):
        folder = b""
        for _ in range(rng.randrange(3)):
            folder += rng.choice(_FOLDERS) + b"/"
            universe[folder.rstrip(b"/")] = "d"
        name = folder + rng.choice(_FILES + _ACCENTED if accented else _FILES)
        universe.setdefault(name, rng.choice("fffl"))
    source, dest = _subset(rng, universe), _subset(rng, universe)
    delete = rng.choice(("", "delete", "delete", "excluded"))
    merged = [_rule(rng, patterns) for _ in range(rng.randrange(3))]
    rules = [_option(rng, patterns) for _ in range(rng.randrange(1, 6))]
    if merged and rng.random() < 0.5:
        rules.insert(rng.randrange(len(rules) + 1), ("filter", rng.choice((". ", "merge ", ".,/ ")) + "{root}/merged"))
    return Case(source, dest, rules, delete, merged)


def _subset(rng: Random, universe: dict[bytes, str]) -> dict[bytes, str]:
    out: dict[bytes, str] = {}
    for path in sorted(universe):
        folder = path.rpartition(b"/")[0]
        if (not folder or folder in out) and rng.random() < 0.75:
            out[path] = universe[path]
    return out


def _option(rng: Random, patterns: Sequence[str]) -> tuple[str, str]:
    option = rng.choice(("filter", "filter", "filter", "exclude", "include"))
    if option != "filter":
        return option, rng.choice(("", "", "- ", "+ ")) + _pattern(rng, patterns) if rng.random() < 0.95 else "!"
    return option, _rule(rng, patterns)


def _rule(rng: Random, patterns: Sequence[str]) -> str:
    chance = rng.random()
    if chance < 0.03:
        return rng.choice(("!", "clear"))
    if chance < 0.06:
        return rng.choice(("-C", "-Cs"))
    if chance < 0.12:
        return rng.choice(("-/ ", "+/ ", "-/r ", "-!/ ", "P/ ")) + rng.choice(
            ("{root}/src/", "{root}/dst/", "src/", "dst/", "**/src/")
        ) + _pattern(rng, patterns).lstrip("/")  # fmt: skip
    return rng.choice(_RULES) + _pattern(rng, patterns)


def _pattern(rng: Random, patterns: Sequence[str]) -> str:
    parts = [rng.choice(patterns) for _ in range(rng.choice((1, 1, 1, 2, 2, 3)))]
    return rng.choice(("", "", "/")) + "/".join(parts) + rng.choice(("", "", "", "/", "/***", "/**"))


def build(case: Case, root: Path) -> None:
    """Both trees, as ``root``/src and ``root``/dst, in place of what is there."""
    for name, tree in (("src", case.source), ("dst", case.dest)):
        shutil.rmtree(root / name, ignore_errors=True)
        base = os.fsencode(root / name)
        os.mkdir(base)
        for path, kind in tree.items():
            place = os.path.join(base, path)
            if kind == "d":
                os.mkdir(place)
            elif kind == "l":
                os.symlink(b"nowhere", place)
            else:
                with open(place, "wb"):
                    pass
    (root / "merged").write_bytes(
        b"# rules\n\n" + b"".join(os.fsencode(line.format(root=root)) + b"\n" for line in case.merged)
    )


def given(case: Case, root: Path) -> list[tuple[str, str]]:
    return [(option, value.replace("{root}", str(root))) for option, value in case.rules]


Said = tuple[list[str], list[str]]  # what takes part, and what is deleted; folders end in "/"


def rsync_says(case: Case, root: Path) -> Said:
    """Real runs, not dry ones: those tell of folders being deleted that rsync then leaves, because something is in them."""
    options = [os.fsencode(f"--{option}={value}") for option, value in given(case, root)]
    deletes = {"": [], "delete": [b"--delete"], "excluded": [b"--delete", b"--delete-excluded"]}[case.delete]
    shutil.rmtree(root / "none", ignore_errors=True)
    os.mkdir(root / "none")
    _rsync([*options, b"src/", b"none/"], root)
    before = _tree(root / "dst")
    if case.delete:
        _rsync([*options, *deletes, b"src/", b"dst/"], root)
    return sorted(_tree(root / "none")), sorted(before - _tree(root / "dst"))


def _rsync(arguments: list[bytes], root: Path) -> None:
    env = {**os.environ, "LC_ALL": "C", "HOME": str(root), "CVSIGNORE": "ignored.by.cvs"}
    done = subprocess.run([b"rsync", b"-rl", *arguments], cwd=root, env=env, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"rsync: {done.stderr.decode(errors='replace')}")


def _tree(root: Path) -> set[str]:
    base, out = os.fsencode(root), set()
    for folder, folders, files in os.walk(base):
        at = os.path.relpath(folder, base)
        for name in folders:
            link = os.path.islink(os.path.join(folder, name))
            out.add(os.path.normpath(os.path.join(at, name)) + (b"" if link else b"/"))
        out |= {os.path.normpath(os.path.join(at, name)) for name in files}
    return {os.fsdecode(path) for path in out}


def we_say(case: Case, root: Path) -> Said:
    rules = filter_rules(given(case, root), Inputs())
    options = Options(delete=bool(case.delete), delete_excluded=case.delete == "excluded")
    ends = [Location("file", local=str(root / name)) for name in ("src", "dst")]
    spec = Spec("job", ends[0], ends[1], selection=Selection(filters=rules), options=options)
    job = JobContext(spec, LocalStore(root / "src"), LocalStore(root / "dst"))
    removed: list[Removal] = []
    extras, select, selected = extras_of(job, removed.append), Filter.of_job(spec), []
    source, dest, _ = listings(job, Meter(), extras=extras)
    for item in join(source, dest):
        if item is not None:
            if item.source is not None and select.selects(item.source):
                selected.append(_shown(item.key, item.source.kind is Kind.LINK))
            extras.take(item)
    extras.close()
    gone = [_shown(r.key, r.key.endswith(LINK_SUFFIX)) for r in removed] if case.delete else []
    return sorted(selected), sorted(gone)


def _shown(key: str, link: bool) -> str:
    return os.fsdecode(decode_name(key.removesuffix(LINK_SUFFIX) if link else key))


def main() -> None:
    """Record."""
    out, seed = [], 0
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        while len(out) < CASES:
            seed += 1
            case = generated(Random(seed))
            build(case, root)
            selected, gone = rsync_says(case, root)
            out.append({**case.wire(), "selected": selected, "gone": gone})
    version = subprocess.run(["rsync", "--version"], capture_output=True, text=True).stdout.split("\n")[0]
    lines = ",\n".join(json.dumps(case) for case in out)
    RECORDED.write_text(f'{{"rsync": {json.dumps(" ".join(version.split()))}, "cases": [\n{lines}\n]}}\n')
    print(f"{len(out)} cases written to {RECORDED}", file=sys.stderr)


if __name__ == "__main__":
    main()
