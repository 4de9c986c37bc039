"""``verify(source, dest, ...) -> Summary``: compare two trees that should be equal, by the workers of a sync; write nothing."""

from __future__ import annotations

import time

from hugesync_producer.detach import hand_to_fleet
from hugesync_producer.ends import as_roots, resolve
from hugesync_producer.namelist import NameList
from hugesync_producer.roots import placed
from hugesync_producer.run import run_job
from hugesync_producer.selecting import identity_of, listing, refuse_unfit
from hugesync_producer.sync import probed, rates_of
from hugesync_tasks import identity
from hugesync_tasks.config import Settings
from hugesync_tasks.errors import UsageError
from hugesync_tasks.spec import Options, Selection, Spec
from hugesync_tasks.summary import Observer, Summary, Unobserved
from hugesync_tasks.token import Meter


def verify(
    source: str,
    dest: str,
    *,
    settings: Settings,
    selection: Selection | None = None,
    options: Options | None = None,
    source_profile: str = "",
    dest_profile: str = "",
    sample: float = 100.0,
    one_way: bool = False,
    fresh: bool = False,
    detach: bool = False,
    observer: Observer | None = None,
    files_from: NameList | None = None,
) -> Summary:
    """Compare SOURCE with DEST: that each file is there, its kind, its size, and of ``sample`` percent of them the contents.

    Equal files count as skipped (same), verified where their contents were compared; others as failed. What only DEST has
    stands among the failures as well, unless ``one_way``, and counts as no file. Raises as ``sync.sync``.
    """
    began = time.monotonic()
    if not 0 <= sample <= 100:
        raise UsageError(f"a sample is 0 to 100 percent of the files, not {sample:g}")
    observer = observer or Unobserved()
    selection, options = listing(selection, files_from), options or Options()
    meter = Meter()
    with rates_of(settings) as rates:
        ends = resolve(source, dest, source_profile, dest_profile, options, meter, selection.links, rates)
        refuse_unfit(selection, ends.source, ends.dest, options, ends.single_source)
        single = [ends.single_source, ends.single_dest]
        what = {**identity_of(selection), "single": single, "compares": {"sample": sample, "one_way": one_way}}
        here, there = as_roots(ends)
        if settings.broker_url:
            here, there = ends.source, ends.dest
        spec = Spec(
            identity.job_id(ends.source.identity(), ends.dest.identity(), what),
            here,
            there,
            single_file=ends.single_dest,
            single_source=ends.single_source,
            selection=selection,
            options=options,
            sample=sample,
            one_way=one_way,
        )
        spec = probed(spec, meter, rates, settings.state_dir, observer)
        if settings.broker_url:
            spec = placed(spec, settings, observer)
        if detach:
            return hand_to_fleet(spec, settings, observer, fresh=fresh, began=began, names=files_from)
        return run_job(spec, settings, observer, fresh=fresh, meter=meter, began=began, rates=rates, names=files_from)
