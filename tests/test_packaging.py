"""What is built and installed: the wheel, the locks, the make targets, the image."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import hugesync_tasks
from servers import start_valkey

REPO = Path(__file__).parent.parent
PROJECT = tomllib.loads((REPO / "pyproject.toml").read_text())
SOURCES = {
    "hugesync_tasks": REPO / "hugesync_tasks",
    "hugesync_producer": REPO / "producer/hugesync_producer",
    "hugesync_worker": REPO / "worker/hugesync_worker",
}
LOCKS = ["requirements.lock", "requirements-dev.lock", "requirements-otel.lock", "requirements-bench.lock"]
# who may import a vendor's SDK: everything else holds a store, a ledger or a task and cannot tell whose it is
SDK_HOMES = {
    "boto3": ("hugesync_tasks.stores.s3",), "botocore": ("hugesync_tasks.stores.s3",), "s3transfer": ("hugesync_tasks.stores.s3",),
    "google": ("hugesync_tasks.stores.gcs",), "azure": ("hugesync_tasks.stores.azure",),
    "obstore": tuple(f"hugesync_tasks.stores.{store}" for store in ("s3", "gcs", "azure")),
    "requests": ("hugesync_tasks.stores.gcs", "hugesync_tasks.stores.azure"),  # what both SDKs send with
    "redis": ("hugesync_tasks.state.redis",),
}  # fmt: skip


def pins(lock: str) -> dict[str, list[Requirement]]:
    """Name → its pinned requirements (one for each marker)."""
    out: dict[str, list[Requirement]] = {}
    for line in (REPO / lock).read_text().splitlines():
        if line and not line[0].isspace():
            requirement = Requirement(line.rstrip(" \\"))
            out.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return out


def modules() -> Iterator[tuple[str, Path]]:
    for package, folder in SOURCES.items():
        for path in sorted(folder.rglob("*.py")):
            parts = [package, *path.relative_to(folder).with_suffix("").parts]
            yield ".".join(p for p in parts if p != "__init__"), path


def imports(path: Path) -> set[str]:
    """Full names of what a module imports, also inside functions; not what only the type checker sees."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


# --- the wheel ------------------------------------------------------------------------------------


def built(source: Path, into: Path, **env: str) -> dict[str, Path]:
    """What ``make dist`` builds of ``source``: name → file."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-t", "wheel", "-d", str(into)],
        cwd=source, env={k: v for k, v in {**os.environ, **env}.items() if k != "SOURCE_DATE_EPOCH"},
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return {path.name: path for path in into.iterdir() if path.name.endswith((".whl", ".tar.gz"))}


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return built(REPO, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def wheel_file(archives: dict[str, Path]) -> Path:
    return next(path for name, path in archives.items() if name.endswith(".whl"))


@pytest.fixture(scope="module")
def wheel(wheel_file: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(wheel_file)


def test_the_wheel_installs_our_three_packages_and_no_other_top_level_name(wheel: zipfile.ZipFile) -> None:
    tops = {name.split("/")[0] for name in wheel.namelist()}

    assert {top for top in tops if not top.endswith(".dist-info")} == set(SOURCES)


def test_every_source_file_is_in_the_wheel_scripts_of_redis_included(wheel: zipfile.ZipFile) -> None:
    wanted = {
        f"{package}/{path.relative_to(folder).as_posix()}"
        for package, folder in SOURCES.items()
        for path in folder.rglob("*")
        if path.suffix in (".py", ".lua")
    }

    assert any(name.endswith(".lua") for name in wanted)
    assert wanted <= set(wheel.namelist())


def test_the_version_is_the_one_written_in_the_package(wheel: zipfile.ZipFile) -> None:
    metadata = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))

    assert Parser().parsestr(wheel.read(metadata).decode())["Version"] == hugesync_tasks.__version__


@pytest.mark.parametrize(("command", "target"), PROJECT["project"]["scripts"].items())
def test_every_command_can_be_loaded(command: str, target: str) -> None:
    assert callable(importlib.metadata.EntryPoint(command, target, "console_scripts").load())


def test_the_version_is_written_once() -> None:
    version = re.compile(rf"\b{re.escape(hugesync_tasks.__version__)}\b")
    sources = [path for _, path in modules()] + [REPO / "pyproject.toml"]

    assert [str(p.relative_to(REPO)) for p in sources if version.search(p.read_text())] == [
        "hugesync_tasks/__init__.py"
    ]


def test_the_source_built_elsewhere_and_later_gives_the_same_bytes(archives: dict[str, Path], tmp_path: Path) -> None:
    sdist = next(path for name, path in archives.items() if name.endswith(".tar.gz"))
    with tarfile.open(sdist) as tar:
        tar.extractall(tmp_path, filter="data")
    there = next(tmp_path.iterdir())
    for path in [there, *there.rglob("*")]:
        os.utime(path, (1_900_000_000, 1_900_000_000))
    for path in there.rglob("*.py"):
        path.chmod(0o600)  # as another umask leaves them

    again = built(there, tmp_path / "again", TZ="Asia/Tokyo", PYTHONHASHSEED="7")

    assert {name: path.read_bytes() for name, path in again.items()} == {
        name: path.read_bytes() for name, path in archives.items()
    }


def test_the_source_archive_holds_all_that_make_needs_and_nothing_that_was_made(archives: dict[str, Path]) -> None:
    with tarfile.open(next(path for name, path in archives.items() if name.endswith(".tar.gz"))) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}

    assert {
        "Makefile",
        ".ci/run",
        "requirements.lock",
        "tests/conftest.py",
        "docs/roadmap.md",
        "pyproject.toml",
    } <= names
    assert not [n for n in names if re.search(r"__pycache__|node_modules|(^|/)\.venv|_cache/", n)]


def bare_environment(folder: Path, wheel_file: Path, *, libraries: str) -> Path:
    """An environment with the wheel in it and nothing of this checkout; returns its folder of commands."""
    venv.create(folder, with_pip=False, symlinks=True)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "--quiet",
        "--python",
        str(folder / "bin/python"),
    ]
    if libraries == "locked":
        subprocess.run(
            [*pip, "install", "--require-hashes", "-r", str(REPO / "requirements.lock")], check=True, timeout=1800
        )
    else:  # those of the tests, as a mere folder of modules: no .pth of it counts, so our checkout is not among them
        site = next((folder / "lib").glob("python*/site-packages"))
        (site / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel_file)], check=True, timeout=300)
    return folder / "bin"


@pytest.mark.parametrize("libraries", ["at hand", pytest.param("locked", marks=pytest.mark.full)])
def test_the_wheel_in_a_bare_environment_does_a_job(wheel_file: Path, tmp_path: Path, libraries: str) -> None:
    commands = bare_environment(tmp_path / "bare", wheel_file, libraries=libraries)
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    for n in range(3):
        (tmp_path / "src").mkdir(exist_ok=True)
        (tmp_path / "src" / f"{n}").write_bytes(os.urandom(100))

    def run(*command: str) -> str:
        done = subprocess.run(
            [str(commands / command[0]), *command[1:]],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    homes = run("python", "-c", "import hugesync_tasks, hugesync_producer, hugesync_worker as w; "
                "print(hugesync_tasks.__file__, hugesync_producer.__file__, w.__file__)").split()  # fmt: skip
    assert all(Path(home).is_relative_to(tmp_path / "bare") for home in homes)
    assert json.loads(run("hugesync-submit", "--json", "src", "dst"))["files"]["done"] == 3
    assert run("hugesync-worker", "--version").split()[-1] == hugesync_tasks.__version__
    for n in range(3):
        assert (tmp_path / "dst" / f"{n}").read_bytes() == (tmp_path / "src" / f"{n}").read_bytes()


# --- dependencies ---------------------------------------------------------------------------------


def test_the_promised_packages_are_dependencies() -> None:
    declared = {
        canonicalize_name(Requirement(line).name): Requirement(line) for line in PROJECT["project"]["dependencies"]
    }

    assert {
        "celery", "redis", "boto3", "google-cloud-storage", "azure-storage-blob", "blake3", "psutil", "flower", "click",
    } <= set(declared)  # fmt: skip
    assert declared["celery"].extras == {"redis"}


def test_everything_imported_is_declared() -> None:
    extra = {
        "hugesync_tasks.spans",
        "hugesync_tasks.tracing",
    }  # that which installs without the extra never load (test_tracing)
    declared = {canonicalize_name(Requirement(line).name) for line in PROJECT["project"]["dependencies"]}
    optional = {canonicalize_name(Requirement(r).name) for r in PROJECT["project"]["optional-dependencies"]["otel"]}
    providers = importlib.metadata.packages_distributions()
    undeclared = {}
    for module, path in modules():
        for name in imports(path):
            top = name.split(".")[0]
            if top in sys.stdlib_module_names or top in SOURCES:
                continue
            here = declared | optional if module in extra else declared
            if not here & {canonicalize_name(p) for p in providers.get(top, [top])}:
                undeclared[module] = name

    # pydantic and celery each release these in step with themselves and pin them
    assert {
        m: n for m, n in undeclared.items() if n not in ("pydantic_core", "billiard.exceptions", "billiard.process")
    } == {}


def test_an_sdk_is_imported_only_by_its_own_adapter() -> None:
    strangers = [
        f"{module} imports {name}"
        for module, path in modules()
        for name in imports(path)
        if (home := SDK_HOMES.get(name.split(".")[0])) and not module.startswith(home)
    ]

    assert strangers == []


def test_celery_stays_out_of_stages_stores_state_and_values() -> None:
    thin = {
        f"hugesync_tasks.{name}" for name in ("celery", "consumer", "leaving", "process", "scaler", "slots", "tasks")
    }
    strangers = [
        module
        for module, path in modules()
        if module.startswith("hugesync_tasks") and module not in thin
        and {name.split(".")[0] for name in imports(path)} & {"celery", "kombu", "billiard"}
    ]  # fmt: skip

    assert strangers == []


# --- locks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_names_versions_and_hashes_and_no_address(lock: str) -> None:
    line = re.compile(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+( ; [^\\]+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    lines = (REPO / lock).read_text().splitlines()

    assert [text for text in lines if not line.fullmatch(text)] == []
    for before, text in zip(lines, [*lines[1:], ""], strict=True):
        assert text.startswith("    --hash=") == before.endswith("\\"), f"{before} has no hash"


def test_the_locks_fulfil_what_the_project_asks_for() -> None:
    groups = PROJECT["dependency-groups"]
    asked = {
        "requirements.lock": PROJECT["project"]["dependencies"] + groups["build"],
        "requirements-dev.lock": PROJECT["project"]["dependencies"]
        + [r for g in ("build", "test", "dev") for r in groups[g] if isinstance(r, str)],
        "requirements-otel.lock": PROJECT["project"]["optional-dependencies"]["otel"],
        "requirements-bench.lock": groups["bench"],
    }

    for lock, requirements in asked.items():
        locked = pins(lock)
        for requirement in map(Requirement, requirements):
            found = locked.get(canonicalize_name(requirement.name), [])
            assert found, f"{lock} lacks {requirement.name}: make lock"
            assert all(requirement.specifier.contains(next(iter(f.specifier)).version) for f in found), requirement


def test_the_tools_lock_only_adds_to_what_is_installed_for_use() -> None:
    def pinned(lock: str) -> dict[str, set[str]]:
        return {name: {str(r) for r in found} for name, found in pins(lock).items()}

    tools, product, traces = map(pinned, ("requirements-dev.lock", "requirements.lock", "requirements-otel.lock"))
    assert {name: found for name, found in product.items() if tools.get(name) != found} == {}
    assert {name: found for name, found in traces.items() if tools.get(name) != found} == {}


def test_the_image_can_send_traces() -> None:
    assert PROJECT["dependency-groups"]["otel"] == PROJECT["project"]["optional-dependencies"]["otel"]
    assert "--require-hashes -r requirements.lock -r requirements-otel.lock" in (REPO / "docker/Dockerfile").read_text()


# --- make -----------------------------------------------------------------------------------------


def make(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS")) and k not in ("SRC", "DST")}
    return subprocess.run(["make", *args], cwd=REPO, capture_output=True, text=True, timeout=60, env={**clean, **env})


def test_make_alone_lists_every_target() -> None:
    listed = set(re.findall(r"^  make (\S+)", make().stdout, re.MULTILINE))

    assert {"help", "run", "test", "test-full", "test-system", "check", "bench", "dist", "docs", "clean"} <= listed


def test_make_run_wants_both_ends_or_none() -> None:
    for one in ("SRC=/a", "DST=/b"):
        done = make("run", one)

        assert done.returncode == 2
        assert "Give both" in done.stdout


def test_make_run_hands_both_ends_over_as_typed(tmp_path: Path) -> None:
    submit = tmp_path / "bin/hugesync-submit"
    submit.parent.mkdir()
    submit.write_text("#!/bin/sh\nprintf '<%s>' \"$@\"\n")
    submit.chmod(0o755)
    (tmp_path / ".runtime").touch()  # stands for an environment that is installed

    done = make("run", f"VENV={tmp_path}", "ARGS=-n --json", "SRC=/a,  (b/'c\"$d`e`", "DST=s3://x/$(y) z")

    assert done.stdout == "<-n><--json><--></a,  (b/'c\"$d`e`><s3://x/$(y) z>"


def test_the_gate_runs_the_tests_and_then_the_checks() -> None:
    script = (REPO / ".ci/run").read_text()

    assert script.startswith("#!/usr/bin/env bash\n")
    assert "set -euo pipefail" in script
    assert re.findall(r"^make (\S+)$", script, re.MULTILINE) == ["test", "check"]
    assert os.access(REPO / ".ci/run", os.X_OK)


def test_the_workflow_calls_the_gate_and_nothing_of_its_own() -> None:
    workflow = (REPO / ".github/workflows/ci.yml").read_text()

    assert re.findall(r"^\s*(?:- )?run: (.*)$", workflow, re.MULTILINE) == [".ci/run"]
    assert set(re.findall(r"uses: (\S+?)@", workflow)) <= {"actions/checkout", "actions/setup-python"}


def test_make_dist_builds_with_the_pinned_builder_and_says_the_sums(tmp_path: Path) -> None:
    shown = make("dist", "--dry-run", f"VENV={tmp_path}").stdout

    assert "pip" in shown  # the environment comes first, from the lock
    assert "--require-hashes -r requirements.lock" in shown
    assert f"{tmp_path}/bin/python -m hatchling build -t sdist -t wheel" in shown
    assert {"hatchling"} <= set(pins("requirements.lock"))
    assert "SHA256SUMS" in shown


# --- the image ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def image() -> str:
    tag = "localhost/hugesync-test"
    certificates = (
        "/etc/ssl/certs/ca-certificates.crt"  # where a proxy's certificate of this host stands, if there is one
    )
    subprocess.run(
        [str(REPO / "docker/build.sh"), "--volume", f"{certificates}:{certificates}:ro"],
        env={**os.environ, "BASE": "debootstrap", "TAG": tag}, check=True, timeout=1800,
    )  # fmt: skip
    return tag


@pytest.mark.system
@pytest.mark.parametrize("command", ["hugesync-submit", "hugesync", "hugesync-worker", "hugesync-exporter"])
def test_the_image_runs_every_command_as_an_ordinary_user(image: str, command: str) -> None:
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    run = ["podman", "--runtime", "runc", "run", "--rm", "--network", "host", *limits, image]

    user = subprocess.run([*run, "id", "-u"], capture_output=True, text=True, check=True, timeout=120)
    shown = subprocess.run([*run, command, "--help"], capture_output=True, text=True, check=True, timeout=120)

    assert user.stdout.strip() == "10001"
    assert command in shown.stdout


@pytest.mark.system
def test_a_job_goes_through_the_image_producer_and_worker_in_containers_of_their_own(
    image: str, tmp_path: Path
) -> None:
    server = start_valkey(tmp_path / "valkey")
    data = tmp_path / "data"
    for folder in (tmp_path, data, data / "src", data / "dst"):
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)
    for n in range(50):
        (data / "src" / f"file {n}").write_bytes(os.urandom(100 + n))
    (data / "src" / "large").write_bytes(os.urandom(20 << 20))
    limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
    confined = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"]
    settings = ["-e", f"HUGESYNC_BROKER_URL={server.url}", "-e", "HUGESYNC_WORKER_ROOTS=data=/data"]
    run = [
        "podman",
        "--runtime",
        "runc",
        "run",
        "--network",
        "host",
        *limits,
        *confined,
        *settings,
        "-v",
        f"{data}:/data",
    ]
    worker = subprocess.run([*run, "--detach", image, "hugesync-worker"], capture_output=True, text=True, check=True)
    try:
        done = subprocess.run(
            [*run, "--rm", image, "hugesync-submit", "--json", "/data/src", "/data/dst"],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    finally:
        subprocess.run(["podman", "rm", "--force", worker.stdout.strip()], capture_output=True, check=True)
        server.stop()

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["files"]["done"] == 51
    for source in (data / "src").iterdir():
        assert (data / "dst" / source.name).read_bytes() == source.read_bytes()
