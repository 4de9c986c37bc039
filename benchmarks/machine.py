"""What a reader needs to judge the figures: when, which command, which machine, which versions, how busy."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import psutil
from programs import Program

import servers


def machine(
    programs: Iterable[Program] = (),
    absent: Iterable[str] = (),
    below: Path | None = None,
    env: dict[str, str] | None = None,
) -> str:
    """A paragraph: ``programs`` with their versions, ``below`` which folder everything was."""
    cpu = next((x.partition(":")[2].strip() for x in _read("/proc/cpuinfo").splitlines() if "model name" in x), "?")
    ran = f"{time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}, `{_command()}`"
    memory = psutil.virtual_memory().total / 2**30
    host = f"{len(os.sched_getaffinity(0))} × {cpu}, {memory:.0f} GiB, Linux {platform.release()}"
    where = f", everything below `{below}`" if below else ""
    lines = [ran, f"{host}, Python {platform.python_version()}{where}, load before the run {os.getloadavg()[0]:.1f}."]
    weed = subprocess.run([servers.find_weed(), "version"], capture_output=True, text=True, check=False).stdout
    versions = [f"{p.name} {_version(_said(p, env))}" for p in programs]
    if versions:
        missing = f" Not on this machine: {', '.join(absent)}." if absent else ""
        lines.append(f"Server: SeaweedFS {_version(weed)}. Programs: {', '.join(versions)}.{missing}")
    else:
        lines.append(f"Server: SeaweedFS {_version(weed)}.")
    return "\n".join(lines)


def _command() -> str:
    script = Path(sys.argv[0])
    return " ".join([f"{script.parent.name}/{script.name}", *sys.argv[1:]])


def _said(program: Program, env: dict[str, str] | None) -> str:
    environment = {**(env or os.environ), **program.env}
    return subprocess.run(program.version, env=environment, capture_output=True, text=True, check=False).stdout


def _version(said: str) -> str:
    for word in said.replace("/", " ").split():
        if any(c.isdigit() for c in word) and "." in word:
            return word.strip("v,()")
    return said.strip().splitlines()[0] if said.strip() else "?"


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
