"""The one library call that every command reaches: ``sync(source, dest, ...) -> Summary``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Unpack

from hugesync_producer.aside import aside
from hugesync_producer.capability_words import refusal
from hugesync_producer.deleterules import MaxDelete
from hugesync_producer.detach import hand_to_fleet
from hugesync_producer.endpoints import Measured, find, trusted
from hugesync_producer.ends import Ends, as_roots, measured, open_end, resolve
from hugesync_producer.keywords import Keywords, values
from hugesync_producer.leadership import WorkerGoesOn
from hugesync_producer.mapping import Map, prepare
from hugesync_producer.namelist import NameList
from hugesync_producer.roots import placed
from hugesync_producer.run import run_job
from hugesync_producer.selecting import identity_of, listing, refuse_unfit
from hugesync_tasks import identity
from hugesync_tasks.config import Settings, load
from hugesync_tasks.config_units import show_size
from hugesync_tasks.errors import Refused, StoreError, UsageError
from hugesync_tasks.logs import get_logger
from hugesync_tasks.process import open_ledger
from hugesync_tasks.spec import Location, Options, Rules, Selection, Spec
from hugesync_tasks.stores.base import Limits, Store
from hugesync_tasks.stores.shared_rate import SharedRates
from hugesync_tasks.summary import Observer, Summary, Unobserved
from hugesync_tasks.token import Meter, Token

log = get_logger(__name__)

PARTS_IN_MEMORY = 4  # the one in hand, its copies in the HTTP client, and the interpreter


def sync(
    source: str,
    dest: str,
    *,
    settings: Settings | None = None,
    rules: Rules | None = None,
    selection: Selection | None = None,
    options: Options | None = None,
    source_profile: str = "",
    dest_profile: str = "",
    dry_run: bool = False,
    fresh: bool = False,
    detach: bool = False,
    observer: Observer | None = None,
    files_from: NameList | None = None,
    map_file: tuple[str, str] | None = None,
    **keywords: Unpack[Keywords],
) -> Summary:
    """Bring SOURCE to DEST and say truthfully what became of each file. docs/library.md shows its use.

    ``settings`` None: those of the environment and the configuration file, and so is of ``rules`` and ``options`` what a
    configuration has. ``keywords``: single fields of the three values. With no broker in ``settings`` a private Redis and a
    worker are started for the job and stopped after it. The same source, destination and selection run again resume an
    unfinished job, unless ``fresh``. ``detach``: the fleet does it, and this returns at once. ``files_from``: only these names
    (``namelist_read``). ``map_file``: what gives the source's entries other names at the destination, and its query where it is a
    database (``maprows``). Raises UsageError, Refused,
    Unreachable before anything was started; afterwards everything is in the summary.
    """
    began = time.monotonic()
    observer = observer or Unobserved()
    settings = settings or load()
    rules, selection, options = values(settings, rules, selection, options, keywords)
    selection = listing(selection, files_from)
    if options.part_size > options.memory // PARTS_IN_MEMORY:
        part, memory, enough = map(show_size, (options.part_size, options.memory, options.part_size * PARTS_IN_MEMORY))
        raise UsageError(
            f"part_size {part} is too much for --memory {memory}, which must hold {PARTS_IN_MEMORY} parts: {enough} will do"
        )
    _check_deletes(options)
    meter = Meter()
    with rates_of(settings) as rates:
        ends = resolve(source, dest, source_profile, dest_profile, options, meter, selection.links, rates)
        refuse_unfit(selection, ends.source, ends.dest, options, ends.single_source)
        if options.delete and ends.single_source:
            raise UsageError(f"--delete means nothing for {source}, a single file: it is of folders and prefixes")
        mapped = _mapped(map_file, ends, selection, options, detach) if map_file is not None else None
        spec = _spec(ends, rules, selection, options, dry_run, meter, rates, settings.state_dir, observer, mapped)
        if settings.broker_url and not dry_run:
            spec = placed(replace(spec, source=ends.source, dest=ends.dest), settings, observer)
        if detach:
            return hand_to_fleet(spec, settings, observer, fresh=fresh, began=began, names=files_from)
        try:
            return run_job(
                spec,
                settings,
                observer,
                fresh=fresh,
                meter=meter,
                began=began,
                rates=rates,
                names=files_from,
                given=mapped,
            )
        except WorkerGoesOn:
            if fresh:
                raise
        from hugesync_producer.watching import followed

        return followed(spec.job, settings, observer)


def _mapped(names: tuple[str, str], ends: Ends, selection: Selection, options: Options, detach: bool) -> Map:
    """The map, read once. Raises UsageError for what it cannot go together with."""
    if options.delete:
        raise UsageError("--delete and --map contradict each other: what the map does not name is no extra")
    if selection.listed:
        raise UsageError("--files-from and --map contradict each other: leave out of the map what is not to be copied")
    if options.dir_metadata:
        raise UsageError(
            "--dir-metadata and --map contradict each other: the folders of the map's names are no entries of SOURCE"
        )
    if detach:
        raise UsageError("--detach and --map contradict each other: the map lies on this host, and no worker has it")
    return prepare(*names, ends)


@contextmanager
def rates_of(settings: Settings) -> Iterator[SharedRates]:
    """This process's part in the shared rates: first contact, too, keeps to what the fleet was asked for."""
    rates = SharedRates()
    if not settings.broker_url:
        yield rates
        return
    fleet = open_ledger(settings)
    try:
        rates.exchange = fleet.share_rate
        yield rates
    finally:
        fleet.close()


def _spec(
    ends: Ends,
    rules: Rules,
    selection: Selection,
    options: Options,
    dry_run: bool,
    meter: Meter,
    rates: SharedRates,
    state_dir: Path,
    observer: Observer,
    mapped: Map | None = None,
) -> Spec:
    source, dest = as_roots(ends)
    # K of a run says what was settled under its own rules: under others the same files may have to be sent.
    kept = {n: getattr(options, n) for n in ("metadata", "owner", "dir_metadata", "storage_class", "sse_kms_key")}
    if (
        options.verify != "none"
    ):  # left out at its default, or jobs left unfinished by an earlier release would not be found
        kept["verify"] = options.verify
    single = [ends.single_source, ends.single_dest]
    what = {**identity_of(selection), "rules": asdict(rules), "kept": kept, "single": single}
    if mapped is not None:
        what["map"] = mapped.digest
    spec = Spec(
        identity.job_id(ends.source.identity(), ends.dest.identity(), what),
        source,
        dest,
        single_file=ends.single_dest,
        single_source=ends.single_source,
        rules=rules,
        selection=selection,
        options=options,
        dry_run=dry_run,
        map_digest=mapped.digest if mapped is not None else "",
    )
    return probed(spec, meter, rates, state_dir, observer)


def _check_deletes(options: Options) -> None:
    """Raises UsageError for what the command line would have refused, too."""
    if options.delete:
        MaxDelete.parse(options.max_delete)
    if options.backup_dir and not options.backup_dir.endswith("/"):
        raise UsageError(f"backup_dir {options.backup_dir}: the key of a folder ends in /")
    if options.backup_dir and (options.inplace or options.unsafe_no_conflict_check):
        raise UsageError("--backup-dir keeps nothing with --inplace or --unsafe-no-conflict-check; give one of them")


def probed(spec: Spec, meter: Meter, rates: SharedRates, state_dir: Path, observer: Observer) -> Spec:
    """The specification with what both ends can do, measured where it has to be, and by ``validate-endpoint`` where that was
    run. What a store will do by itself to the result is noticed. Raises Unreachable, Refused."""
    once, writes = replace(spec.options, retries=1), not (spec.dry_run or spec.compares)
    a = open_end(spec.source, None, once, "source", rates=rates, reads_only=spec.compares)
    b = open_end(spec.dest, None, once, "destination", rates=rates, reads_only=spec.compares)
    try:
        found = measured(a, spec.source, False, meter)
        limits = measured(b, spec.dest, writes, meter)
        kept_a, kept_b = find(state_dir, a.domain), find(state_dir, b.domain)
        found, limits = trusted(found, kept_a), trusted(limits, kept_b)
        _tell(spec.source, found, "source", False, kept_a)
        _tell(spec.dest, limits, "destination", writes, kept_b)
        if limits.conditional_commit == "none" and writes and not spec.options.unsafe_no_conflict_check:
            raise Refused(
                f"{spec.dest.display()}: this store cannot make a commit conditional, so a rival's newer data could be "
                f"overwritten unseen{_shown_by(kept_b)}; --unsafe-no-conflict-check accepts that"
            )
        if not limits.remote and (spec.options.storage_class or spec.options.sse_kms_key):
            option = "--storage-class" if spec.options.storage_class else "--sse-kms-key"
            raise UsageError(f"{option} means nothing at {spec.dest.display()}, which is a local path")
        if spec.options.sse_kms_key and not limits.kms_keys:
            raise UsageError(
                f"--sse-kms-key means nothing at {spec.dest.display()}: {limits.name} takes no key with a write"
            )
        if spec.options.delete and not limits.case_sensitive:
            raise UsageError(
                f"--delete is not possible at {spec.dest.display()}, which does not tell upper from lower case: what has "
                "another spelling there would be taken for an extra"
            )
        if spec.options.inplace:
            _check_in_place(spec, found, limits)
        if writes:
            _look_ahead(b, spec.dest, meter, observer)
        return replace(spec, source_limits=found.wire(), dest_limits=limits.wire())
    finally:
        a.close()
        b.close()


def _check_in_place(spec: Spec, source: Limits, dest: Limits) -> None:
    """Raises UsageError where ``--inplace`` could have no effect."""
    if not dest.in_place:
        raise UsageError(f"--inplace means nothing at {spec.dest.display()}: objects are replaced whole")
    if spec.options.whole_file or (spec.options.whole_file is None and not source.remote and not dest.remote):
        raise UsageError("--inplace is of deltas, and from folder to folder files go whole: give --no-whole-file too")


def _shown_by(kept: Measured | None) -> str:
    """Which of the conditions ``validate-endpoint`` saw ignored; what it saw stands until it is run again."""
    seen = refusal(kept.findings.facts) if kept is not None else []
    return f" (validate-endpoint of {kept.when} found no: {', '.join(seen)})" if kept is not None and seen else ""


def _look_ahead(store: Store, location: Location, meter: Meter, observer: Observer) -> None:
    """Say what the store's own rules would do to uploads and objects there; a store that does not tell says nothing."""
    try:
        hazards = aside(lambda: store.hazards(Token(meter)))
    except StoreError as error:
        log.info("lifecycle rules not read", location=location.display(), reason=error.message)
        return
    for hazard in hazards:
        observer.on_notice(f"{location.display()}: {hazard}")


def _tell(location: Location, limits: Limits, role: str, writes: bool, kept: Measured | None) -> None:
    """With ``-v``: where each end is and what it was found to do, which decides how files travel. What only a write shows is
    left out where none was made."""
    known: dict[str, object] = {"store": limits.name, "list_order": limits.list_order}
    if writes or kept is not None or not limits.remote:
        known |= {
            "conditional_commit": limits.conditional_commit,
            "full_crc64": limits.full_crc64,
            "etag_is_md5": limits.etag_is_md5,
        }
    known |= _probed_by(limits, kept)
    log.info("endpoint measured", role=role, location=location.display(), endpoint=location.endpoint, **known)


def _probed_by(limits: Limits, kept: Measured | None) -> dict[str, str]:
    if kept is None:
        return {}
    if kept.findings.server != limits.name:
        return {"not_believed": f"validate-endpoint of {kept.when}: it was {kept.findings.server} then"}
    return {"probed_by": f"validate-endpoint on {kept.when}"}
