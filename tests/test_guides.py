"""What the guides say can be typed: every command of every page is one, and getting-started.md is followed to its end."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from docs.commands_page import COMMANDS
from servers import s3_client, start_seaweedfs, start_valkey

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = "|".join(name for name, _ in COMMANDS)


def typed(page: Path) -> list[str]:
    """The indented lines of a page: what a reader types."""
    return re.findall(r"(?m)^    (\S.*)$", re.sub(r"(?s)```.*?```", "", page.read_text()))


def commands(line: str) -> list[list[str]]:
    """Each of our commands in a line of a shell, as words; $(...) stands for one word."""
    plain = re.sub(r"\$\([^)]*\)", "WORD", line)
    parts = re.split(r" (?:&&|\|\||\|) ", plain)
    found = [
        re.fullmatch(rf"(?:sudo -u \w+ env )?(?:[A-Z_]+=\S+ )*(?:\S*/)?((?:{NAMES})(?: .*)?)", part) for part in parts
    ]
    return [shlex.split(match[1], comments=True) for match in found if match]


def scheduled(page: Path) -> list[str]:
    """What units and crontabs of a page run."""
    return re.findall(r"(?m)^(?:ExecStart=/bin/sh -c 'exec |(?:[\d*]+ ){5}\w+ )(.*?)'?$", page.read_text())


def scripts(page: Path) -> list[str]:
    """The shell scripts of a page."""
    return re.findall(r"(?s)```sh\n(.*?)```", page.read_text())


EXAMPLES = [
    pytest.param(words, id=f"{page.name}: {' '.join(words)}")
    for page in PAGES
    for line in [*typed(page), *scheduled(page), *"".join(scripts(page)).splitlines()]
    for words in commands(line)
]


@pytest.mark.parametrize("words", EXAMPLES)
def test_a_command_of_the_pages_is_accepted(words: list[str]) -> None:
    command: click.Command = dict(COMMANDS)[words[0]]
    args = words[1:]
    while isinstance(command, click.Group) and args and not args[0].startswith("-"):
        below = command.get_command(click.Context(command), args[0])
        assert below, f"there is no {' '.join(words)}"
        command, args = below, args[1:]
    try:
        command.make_context(words[0], list(args))
    except click.exceptions.Exit:  # --version
        pass


def test_the_pages_for_users_have_commands() -> None:
    for name in ("getting-started.md", "recipes.md"):
        assert len([w for line in typed(ROOT / "docs" / name) for w in commands(line)]) >= 10


def test_what_runs_every_night_is_the_same_command_by_either_clock() -> None:
    by_systemd, by_cron = scheduled(ROOT / "docs/recipes.md")

    assert commands(by_systemd) == commands(by_cron) != []


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_units_of_the_recipes_are_sound(tmp_path: Path) -> None:
    text = (ROOT / "docs/recipes.md").read_text()
    units = re.findall(r"`/etc/systemd/system/([\w.-]+)`:\n\n```ini\n(.*?)```", text, re.DOTALL)
    assert len(units) >= 2
    for name, unit in units:
        (tmp_path / name).write_text(unit)

    done = subprocess.run(
        ["systemd-analyze", "verify", *(str(tmp_path / name) for name, _ in units)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert (done.returncode, [line for line in done.stderr.splitlines() if "hugesync" in line]) == (0, []), done.stderr


@pytest.mark.parametrize(
    ("copied", "sent", "code", "did"),
    [
        (0, 0, 0, "domfsfreeze cp domfsthaw submit"),
        (0, 5, 5, "domfsfreeze cp domfsthaw submit"),
        (1, 0, 1, "domfsfreeze cp domfsthaw"),
    ],
    ids=["a good night", "the store is away", "no room for the snapshot"],
)
def test_the_script_for_vm_images_thaws_the_guest_and_tells_how_it_ended(
    tmp_path: Path, copied: int, sent: int, code: int, did: str
) -> None:
    (script,) = scripts(ROOT / "docs/recipes.md")
    script = script.replace("/opt/hugesync/bin/", "").replace("/var/lib/libvirt/images", str(tmp_path))
    for name, body in (
        ("virsh", "echo $1 >> did"),
        ("cp", f"echo cp >> did; : > vm1.snapshot; exit {copied}"),
        ("hugesync-submit", f'echo submit >> did; [ -f "$2" ] && exit {sent}; exit 99'),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o700)

    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, timeout=30, check=False
    )

    assert (done.returncode, (tmp_path / "did").read_text().split()) == (code, did.split())
    assert not (tmp_path / "vm1.snapshot").exists()


def follow(page: Path, first: str) -> str:
    """A script that does what ``page`` says from the section ``first`` on; what belongs in another terminal runs beside it."""
    lines, said = ["set -ex"], ""
    for paragraph in page.read_text().split(f"\n## {first}\n\n")[1].split("\n\n"):
        if not paragraph.startswith("    "):
            said = " ".join(paragraph.split())
            continue
        for line in (text.strip() for text in paragraph.splitlines()):
            lines.append(f"( {line} ) > beside.log 2>&1 &" if "in another terminal" in said else line)
    return "\n".join(lines).replace('\necho "exit code $?"', ' || echo "exit code $?"')


@pytest.mark.full
def test_getting_started_can_be_followed_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "bin"
    path.mkdir()
    for name, target in (
        ("hugesync-submit", "hugesync_producer.cli:submit"),
        ("hugesync", "hugesync_producer.cli:hugesync"),
        ("hugesync-worker", "hugesync_worker.__main__:main"),
    ):
        module, function = target.split(":")
        (path / name).write_text(
            f"#!{sys.executable}\nimport sys\nfrom {module} import {function}\nsys.exit({function}())\n"
        )
        (path / name).chmod(0o700)
    s3, redis = start_seaweedfs(tmp_path / "s3"), start_valkey(tmp_path / "redis")
    s3_client(s3).create_bucket(Bucket="photos")
    script = follow(ROOT / "docs/getting-started.md", "A first sync")
    assert "weed mini" in script
    assert "redis-server" in script
    script = re.sub(r"(?m)^\( (python3 -m venv|AWS_\S+|redis-server).*$", "", script)  # those run already
    script = script.replace("http://127.0.0.1:8333", s3.endpoint).replace("redis://127.0.0.1:6379/0", redis.url)
    script = script.replace("=demo-secret", f"={s3.secret_key}").replace("=demo", f"={s3.access_key}")
    work = tmp_path / "work"
    work.mkdir()
    env = {
        "PATH": f"{path}:{os.environ['PATH']}", "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state"),
        "PYTHONPATH": ":".join(str(ROOT / p) for p in ("", "producer", "worker")),
    }  # fmt: skip
    try:
        done = subprocess.run(
            ["bash", "-c", f"trap 'kill $(jobs -p) 2>/dev/null' EXIT\n{script}"],
            cwd=work, env=env, capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
    finally:
        s3.stop()
        redis.stop()

    assert done.returncode == 0, done.stderr
    assert "exit code 4" in done.stdout
    assert "saved 95.0 %" in done.stdout
    assert (work / "try/restored/2025/4.jpg").read_bytes() == (work / "try/photos/2025/4.jpg").read_bytes()
    assert re.search(r"done .* s3://photos/by-the-fleet/$", done.stdout, re.MULTILINE)


def test_the_first_sync_of_make_run_shows_what_its_second_run_saved(tmp_path: Path) -> None:
    """``make run`` alone runs this program."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "HUGESYNC_"))} | {"TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples/first_sync.py")],
        cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    first, second = re.findall(r"^done: found (\d+) · done (\d+) · skipped (\d+) · failed 0", done.stdout, re.MULTILINE)
    assert first == ("402", "402", "0")
    assert second == ("403", "4", "399")
    assert re.search(r"sent 4 of them:\n12\.0 KiB instead of 49\.6 MiB, 99\.98 % saved", done.stdout), done.stdout
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"
