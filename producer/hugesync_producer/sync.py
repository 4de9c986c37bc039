"""The one library call that every command reaches: ``sync(source, dest, ...) -> Summary``."""

from __future__ import annotations

import time
from dataclasses import asdict, replace

from hugesync_producer.detach import hand_to_fleet
from hugesync_producer.ends import Ends, as_roots, measured, open_end, resolve
from hugesync_producer.roots import placed
from hugesync_producer.run import run_job
from hugesync_tasks import identity
from hugesync_tasks.config import Settings
from hugesync_tasks.config_units import show_size
from hugesync_tasks.errors import Refused, UsageError
from hugesync_tasks.logs import get_logger
from hugesync_tasks.spec import Location, Options, Rules, Selection, Spec
from hugesync_tasks.stores.base import Limits
from hugesync_tasks.summary import Observer, Summary, Unobserved
from hugesync_tasks.token import Meter

log = get_logger(__name__)

PARTS_IN_MEMORY = 4  # the one in hand, its copies in the HTTP client, and the interpreter


def sync(
    source: str,
    dest: str,
    *,
    settings: Settings,
    rules: Rules | None = None,
    selection: Selection | None = None,
    options: Options | None = None,
    source_profile: str = "",
    dest_profile: str = "",
    dry_run: bool = False,
    fresh: bool = False,
    detach: bool = False,
    observer: Observer | None = None,
) -> Summary:
    """Bring SOURCE to DEST and say truthfully what became of each file.

    With no broker in ``settings`` a private Redis and a worker are started for the job and stopped after it. The same
    source, destination and selection run again resume an unfinished job, unless ``fresh``. ``detach``: the fleet does it, and
    this returns at once. Raises UsageError, Refused,
    Unreachable before anything was started; afterwards everything is in the summary.
    """
    began = time.monotonic()
    observer = observer or Unobserved()
    rules, selection, options = rules or Rules(), selection or Selection(), options or Options()
    if options.part_size > options.memory // PARTS_IN_MEMORY:
        part, memory, enough = map(show_size, (options.part_size, options.memory, options.part_size * PARTS_IN_MEMORY))
        raise UsageError(
            f"part_size {part} is too much for --memory {memory}, which must hold {PARTS_IN_MEMORY} parts: {enough} will do"
        )
    meter = Meter()
    ends = resolve(source, dest, source_profile, dest_profile, options, meter, selection.links)
    spec = _spec(ends, rules, selection, options, dry_run, meter)
    if settings.broker_url and not dry_run:
        spec = placed(replace(spec, source=ends.source, dest=ends.dest), settings, observer)
    if detach:
        return hand_to_fleet(spec, settings, observer, fresh=fresh, began=began)
    return run_job(spec, settings, observer, fresh=fresh, meter=meter, began=began)


def _spec(ends: Ends, rules: Rules, selection: Selection, options: Options, dry_run: bool, meter: Meter) -> Spec:
    source, dest = as_roots(ends)
    # K of a run says what was settled under its own rules: under others the same files may have to be sent.
    kept = {n: getattr(options, n) for n in ("metadata", "owner", "dir_metadata", "storage_class", "sse_kms_key")}
    single = [ends.single_source, ends.single_dest]
    identity_of = {**asdict(selection), "rules": asdict(rules), "kept": kept, "single": single}
    spec = Spec(
        identity.job_id(ends.source.identity(), ends.dest.identity(), identity_of),
        source,
        dest,
        single_file=ends.single_dest,
        single_source=ends.single_source,
        rules=rules,
        selection=selection,
        options=options,
        dry_run=dry_run,
    )
    return probed(spec, meter)


def probed(spec: Spec, meter: Meter) -> Spec:
    """The specification with what both ends can do, measured where it has to be. Raises Unreachable, Refused."""
    once = replace(spec.options, retries=1)
    a, b = open_end(spec.source, None, once, "source"), open_end(spec.dest, None, once, "destination")
    try:
        found = measured(a, spec.source, False, meter)
        limits = measured(b, spec.dest, not spec.dry_run, meter)
        _tell(spec.source, found, "source")
        _tell(spec.dest, limits, "destination")
        if limits.conditional_commit == "none" and not spec.dry_run and not spec.options.unsafe_no_conflict_check:
            raise Refused(
                f"{spec.dest.display()}: this store cannot make a commit conditional, so a rival's newer data could be "
                "overwritten unseen; --unsafe-no-conflict-check accepts that"
            )
        if not limits.remote and (spec.options.storage_class or spec.options.sse_kms_key):
            option = "--storage-class" if spec.options.storage_class else "--sse-kms-key"
            raise UsageError(f"{option} means nothing at {spec.dest.display()}, which is a local path")
        if spec.options.inplace:
            _check_in_place(spec, found, limits)
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


def _tell(location: Location, limits: Limits, role: str) -> None:
    """With ``-v``: where each end is and what it was found to do, which decides how files travel."""
    log.info(
        "endpoint measured",
        role=role,
        location=location.display(),
        endpoint=location.endpoint,
        store=limits.name,
        conditional_commit=limits.conditional_commit,
        list_order=limits.list_order,
        full_crc64=limits.full_crc64,
        etag_is_md5=limits.etag_is_md5,
    )
