"""``hugesync sign``, ``delta`` and ``patch``: plain tools for local files, as rdiff's are. No job, no broker, no store."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import click

from hugesync_producer import human
from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_run import Output, answer
from hugesync_producer.cli_types import PLACE
from hugesync_tasks import __version__
from hugesync_tasks.errors import HugeSyncError, Refused, SourceChanged, UsageError

_Command = Callable[..., int]
_DEBUG = click.option("--debug", is_flag=True, help="Show tracebacks.")
_FORCE = click.option("-f", "--force", is_flag=True, help="Write over an existing file.")


def _out(default: str) -> Callable[[_Command], _Command]:
    text = f"Where to write; - is standard output.  [default: {default}]"
    return click.option("-o", "--output", metavar="FILE", help=text)


@click.command("sign", cls=SectionedCommand)
@click.argument("file", type=PLACE)
@_out("FILE.hssig")
@click.option(
    "--block-size", metavar="SIZE", default="auto", show_default=True, help="64, 128, 256, 512KiB, or 1 to 5MiB."
)
@_FORCE
@_DEBUG
def sign_command(file: str, output: str | None, block_size: str, force: bool, debug: bool) -> int:
    """Write the signature of FILE: what is needed to tell how another file differs from it."""

    def work() -> None:
        from hugesync_tasks.delta.files import opened, sign
        from hugesync_tasks.signature import format as hssig

        block = block_size_of(block_size)
        target = output or f"{file}.hssig"
        _refuse_existing(target, force)  # before a huge file is read
        with opened(Path(file)) as source:
            try:
                made = sign(source, block, f"hugesync {__version__}")
            except ValueError as error:
                raise UsageError(f"--block-size {block_size}: {error}") from error
        _write(target, hssig.write(made.header, [made.records]), force)
        _say(
            f"{human.counted(made.header.blocks, 'block')} of {human.size(made.header.block)}, {human.size(made.header.length)}",
            target,
        )

    return _tool("sign", debug, work)


@click.command("delta", cls=SectionedCommand)
@click.argument("signature", type=PLACE)
@click.argument("file", type=PLACE)
@_out("FILE.hsdelta")
@_FORCE
@_DEBUG
def delta_command(signature: str, file: str, output: str | None, force: bool, debug: bool) -> int:
    """Write what makes FILE of the file that SIGNATURE is of (- reads it from standard input)."""

    def work() -> None:
        from hugesync_tasks.delta import container
        from hugesync_tasks.delta.files import compare, opened
        from hugesync_tasks.signature import format as hssig

        target = output or f"{file}.hsdelta"
        _refuse_existing(target, force)
        with _reading(signature) as stream:
            try:
                basis = hssig.read(stream.read)
            except hssig.Unusable as error:
                raise UsageError(f"{human.name(signature)} is no signature that can be used: {error}") from error
        with opened(Path(file)) as new:
            found = compare(basis, new)
            _write(target, container.write(found.ends, found.copies, new.read), force, new.unchanged)
        sent = found.ends.size - found.reused
        _say(
            f"holds {human.size(sent)}, reuses {human.size(found.reused)}, saves {human.percent(found.reused, found.ends.size)}",
            target,
        )

    return _tool("delta", debug, work)


@click.command("patch", cls=SectionedCommand)
@click.argument("basis", type=PLACE)
@click.argument("delta", type=PLACE)
@click.argument("out", type=PLACE)
@_FORCE
@_DEBUG
def patch_command(basis: str, delta: str, out: str, force: bool, debug: bool) -> int:
    """Make OUT of BASIS by DELTA (- reads it from standard input). OUT appears only when it is proven to be right."""

    def work() -> None:
        from hugesync_tasks.delta.container import BadDelta
        from hugesync_tasks.delta.files import opened, patch

        if out == "-":
            raise UsageError("OUT must be a file: what is written counts only when all of it is proven")
        _refuse_existing(out, force)
        with opened(Path(basis)) as old, _reading(delta) as stream:
            try:
                ends = patch(old, stream.read, Path(out))
            except BadDelta as error:
                raise UsageError(str(error)) from error
        _say(f"{human.size(ends.size)}, digest as promised", out)

    return _tool("patch", debug, work)


def _tool(name: str, debug: bool, work: Callable[[], None]) -> int:
    def told() -> None:
        try:
            work()
        except SourceChanged as error:
            raise Refused(str(error)) from error
        except HugeSyncError:
            raise
        except OSError as error:
            where = f"{human.name(str(error.filename))}: " if error.filename else ""
            raise UsageError(f"{where}{error.strerror or error}") from error

    return answer(Output(f"hugesync {name}", debug=debug), told)


def block_size_of(text: str) -> int | None:
    """Bytes of ``--block-size``; None for "auto". Raises UsageError."""
    from hugesync_tasks.config_units import parse_size
    from hugesync_tasks.signature.blocks import MAX_BLOCK, allowed_block

    if text == "auto":
        return None
    try:
        block = parse_size(text)
    except ValueError as error:
        raise UsageError(f"--block-size: {error}") from error
    if block > MAX_BLOCK or not allowed_block(block):
        raise UsageError(
            f"--block-size {text}: write auto, 64KiB, 128KiB, 256KiB, 512KiB, or 1MiB to 5MiB in whole MiB"
        )
    return block


def _refuse_existing(path: str, force: bool) -> None:
    if path == "-" or not os.path.lexists(path):
        return
    if os.path.exists(path) and not os.path.isfile(path):  # a rename over a device would put a file in its place
        raise UsageError(f"{human.name(path)} is no regular file; - writes to standard output")
    if not force:
        raise UsageError(f"{human.name(path)} exists; --force writes over it")


@contextmanager
def _reading(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
    else:
        with open(path, "rb") as stream:
            yield stream


def _write(
    path: str, chunks: Iterable[bytes | bytearray], force: bool, before: Callable[[], None] = lambda: None
) -> None:
    """Write ``path`` in one step; ``before`` may still refuse when all has been made."""
    if path == "-":
        for chunk in chunks:
            sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        before()
        return
    _refuse_existing(path, force)
    temporary = f"{os.path.join(os.path.dirname(path), '.hugesync-')}{os.urandom(8).hex()}.part"
    try:
        with open(temporary, "xb") as out:
            out.writelines(chunks)
            out.flush()
            os.fsync(out.fileno())
        before()
        os.replace(temporary, path)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise


def _say(what: str, target: str) -> None:
    print(f"{what}: {human.name(target)}" if target != "-" else what, file=sys.stderr)
