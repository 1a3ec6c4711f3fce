"""Is a run the sample that it says it is?"""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.verify.files import UNREADABLE, Finding, check_file
from transforms.core.explain.content import SAMPLE, is_chosen
from transforms.core.vocabulary import CONTENT
from transforms.store.run import Run
from transforms.store.sampling import SAMPLED, SAMPLING, read_plan


def check_sampled(run: Run) -> list[Finding]:
    """Returns what is wrong with the sample of a run; nothing if it takes all images."""
    manifest = run.manifest
    if SAMPLED not in manifest.provenance.config:
        return [Finding(SAMPLING, "is listed by the manifest of a run that is no sample")] if manifest.sampling else []
    if manifest.sampling is None:
        return [Finding(SAMPLING, "is not listed by the manifest of a run that is a sample")]
    findings = check_file(run.uri, manifest.sampling)
    try:
        plan = read_plan(run.uri)
    except UNREADABLE as error:
        return [*findings, Finding(SAMPLING, f"cannot be read ({error})")]
    if plan is None:
        return findings
    if plan.shaping != manifest.provenance.config[SAMPLED]:
        return [*findings, Finding(SAMPLING, "is not the plan by which the run was made")]
    return [*findings, *_outside(run, plan.share)]


def _outside(run: Run, share: float) -> Iterator[Finding]:
    """Yields the parts with rows of pictures that are not in the sample; others find those that cannot be read."""
    for part in run.manifest.parts if share < 1 else ():
        try:
            contents = [text for table in run.rows([CONTENT], [part]) for text in table.column(CONTENT).to_pylist()]
        except UNREADABLE:
            continue
        if outside := sum(not is_chosen(str(content), SAMPLE, share) for content in contents):
            yield Finding(part.attributions.name, f"holds {outside} rows of pictures that are not in the sample")
