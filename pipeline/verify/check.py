"""Is a run what its manifest says, and do its stored rows give its statistics to the bit?

Reads rows by row groups, without images and maps, and needs neither the model nor the input.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field

import pyarrow as pa

from pipeline.verify.files import UNREADABLE, Finding, check_file, check_footer
from pipeline.verify.image_hashes import ImageHashes
from pipeline.verify.refined import check_refined
from pipeline.verify.sampled import check_sampled
from transforms import process, store
from transforms.core.statistics.importance import ImportanceStatistics, add_slices, iter_slices
from transforms.core.statistics.slices import Slice, SliceOptions, Slicer, counted_in, kept_slices
from transforms.core.statistics.statistic import INTERVAL
from transforms.store.files import iter_tables
from transforms.store.parts import ATTRIBUTIONS, ERRORS, PartSummary, read_footer
from transforms.store.run import Run
from transforms.store.schema import SUMMARIZED_COLUMNS, statistic_columns
from transforms.store.tables import BLOCK_SLICES, statistics_blocks, statistics_table

Progress = Callable[[int, int], None]
"""Is told how many of how many rows have been read."""

_BLOCK_ROWS = 1 << 13  # fewer cost a merge of all slices more often, more cost memory
_NAMED = 3


def verify(run: Run, progress: Progress | None = None) -> list[Finding]:
    """Returns what is wrong with a complete run; nothing, if all is well.

    Finds files that are missing, changed, doubled or not the run's, images that are stored twice, counts
    that do not add up, and statistics that differ from those of the stored rows in any bit; and refined maps that are
    not of the run's rows, or not what their own rows say, and a sample that holds other pictures than its own.

    Raises:
        FileNotFoundError: the run is unfinished, or there is none.
        ValueError: its manifest cannot be read.
    """
    manifest = run.manifest
    options = _slice_options(manifest)
    totals = _Totals(Slicer(options.slice_by), _stored_slices(run))
    findings = _check_strays(run)
    with tempfile.TemporaryFile(prefix="ig-audit-") as file:
        hashes = ImageHashes(file)
        for part in manifest.parts:
            findings += _check_part(run, part, totals, hashes)
            if progress:
                progress(totals.rows, manifest.rows)
        findings += [
            Finding(name, f"has {count} images that another part has too") for name, count in hashes.shared().items()
        ]
    statistics = totals.finish()
    process.trim()  # of what adding up has left
    different = _check_statistics(run, statistics)
    if not different and kept_slices(totals.counts, options.max_slices) != totals.kept & totals.counts.keys():
        different = [Finding(manifest.statistics.name, "does not keep the largest slices")]
    return findings + different + check_sampled(run) + check_refined(run)


@dataclass(frozen=True)
class _Content:
    """What a part and its errors hold: the statistics' columns, the key of each row, the ids of failed images.

    These include the images without a target, which are counted too.
    """

    tables: list[pa.Table]
    keys: list[tuple[str, int]]
    failed: list[str]
    untargeted: int

    @property
    def images(self) -> list[str]:
        """Ids of attributed and of failed images; one stands twice if it is both or failed twice."""
        return [*dict.fromkeys(image_id for image_id, _ in self.keys), *self.failed]


@dataclass
class _Totals:
    """What has been read so far: rows that wait to be added up in one go, and statistics.

    Rows of slices that the run does not keep are only counted, so that a million slices take no memory to speak of.
    """

    slicer: Slicer
    kept: frozenset[Slice]
    rows: int = 0
    counts: Counter[Slice] = field(default_factory=Counter)
    pending: list[pa.Table] = field(default_factory=list)
    statistics: dict[Slice, ImportanceStatistics] = field(default_factory=dict)

    def add(self, content: _Content) -> None:
        self.rows += len(content.keys)
        self.pending += content.tables
        if sum(map(len, self.pending)) >= _BLOCK_ROWS:
            self.finish()

    def finish(self) -> dict[Slice, ImportanceStatistics]:
        """Returns the statistics of all rows so far."""
        if self.pending:
            columns = statistic_columns(pa.concat_tables(self.pending))
            add_slices(self.statistics, self._fold(iter_slices(columns, self.slicer)))
            self.pending = []
        return self.statistics

    def _fold(
        self, found: Iterable[tuple[Slice, ImportanceStatistics]]
    ) -> Iterator[tuple[Slice, ImportanceStatistics]]:
        """Counts slices, and yields those that are not kept as part of their overflow."""
        for key, statistics in found:
            self.counts[key] += statistics.count
            yield counted_in(key, self.kept), statistics


def _check_strays(run: Run) -> list[Finding]:
    listed = {file.name for file in run.files}
    names = [*run.names_of(ATTRIBUTIONS), *run.names_of(ERRORS)]
    return [Finding(name, "is not in the manifest") for name in names if name not in listed and "/." not in name]


def _check_part(run: Run, part: PartSummary, totals: _Totals, hashes: ImageHashes) -> list[Finding]:
    findings = [finding for file in (part.attributions, part.errors) if file for finding in check_file(run.uri, file)]
    try:
        footer = read_footer(run.uri_of(part.attributions.name))
        content = _read_content(run, part)
        totals.add(content)
    except FileNotFoundError:
        return findings
    except UNREADABLE as error:
        return [*findings, Finding(part.attributions.name, f"cannot be read ({error})")]
    hashes.add(part.attributions.name, set(content.images))
    provenance = run.manifest.provenance
    return (
        findings
        + check_footer(part, footer, provenance.config_digest, provenance.model_digest)
        + _check_content(part, content)
    )


def _check_content(part: PartSummary, content: _Content) -> list[Finding]:
    name = part.attributions.name
    counts = {
        "rows": (len(content.keys), part.rows),
        "failures": (len(content.failed) - content.untargeted, part.failures),
        "images without a target": (content.untargeted, part.untargeted),
        "images, attributed or failed": (len(content.images), part.images),
    }
    if part.labels:
        counts["attributed images, whose labels are counted"] = (
            len(content.images) - len(content.failed),
            part.labels.images,
        )
    findings = [
        Finding(name, f"holds {found} {what}, the manifest says {expected}")
        for what, (found, expected) in counts.items()
        if found != expected
    ]
    doubled = _doubled(content.keys) or _doubled(content.images)
    return [*findings, *([Finding(name, f"holds {doubled[0]} twice")] if doubled else [])]


def _check_statistics(run: Run, statistics: dict[Slice, ImportanceStatistics]) -> list[Finding]:
    file = run.manifest.statistics
    findings = check_file(run.uri, file)
    try:
        with run.parquet(file.name) as parquet:
            blocks = itertools.zip_longest(iter_tables(parquet, rows=BLOCK_SLICES), statistics_blocks(statistics))
            if all(stored is not None and _equal(stored, expected) for stored, expected in blocks):
                return findings
            different = _different_slices(parquet.read(), statistics_table(statistics))
    except FileNotFoundError:
        return findings
    except UNREADABLE as error:
        return [*findings, Finding(file.name, f"cannot be read ({error})")]
    named = ", ".join(f"{key.kind} {key.value}".strip() for key in different[:_NAMED]) or "the order of slices"
    more = f" and {len(different) - _NAMED} more slices" if len(different) > _NAMED else ""
    return [*findings, Finding(file.name, f"differs from the statistics of the stored rows in {named}{more}")]


def _slice_options(manifest: store.Manifest) -> SliceOptions:
    names = [field.name for field in dataclasses.fields(SliceOptions)]
    stored = {name: manifest.provenance.config[name] for name in names if name in manifest.provenance.config}
    return SliceOptions(**stored)


def _stored_slices(run: Run) -> frozenset[Slice]:
    """Returns the slices that a run says it has; none if its statistics cannot be read, which is found later."""
    try:
        return frozenset(_by_slice(run.statistics(["kind", "value", "name"])))
    except UNREADABLE:
        return frozenset()


def _different_slices(stored: pa.Table, expected: pa.Table) -> list[Slice]:
    found, wanted = _by_slice(stored), _by_slice(expected)
    shared = found.keys() & wanted.keys()
    return sorted(
        (found.keys() ^ wanted.keys()) | {key for key in shared if not _equal(found[key], wanted[key])},
    )


def _equal(stored: pa.Table, expected: pa.Table | None) -> bool:
    """Returns whether statistics are the same.

    Version 0.1.0 stored no intervals, and of −0 and 0 whichever came first.
    """
    if expected is not None and not any(map(_is_of_interval, stored.column_names)):
        expected = expected.drop_columns(list(filter(_is_of_interval, expected.column_names)))
    if expected is None or stored.equals(expected):
        return expected is not None
    position = stored.schema.get_field_index("state")
    try:
        states = [ImportanceStatistics.from_state(text).state() for text in stored.column(position).to_pylist()]
    except ValueError:
        return False
    return stored.set_column(position, stored.schema.field(position), pa.array(states, pa.string())).equals(expected)


def _is_of_interval(column: str) -> bool:
    return column.partition("_")[0] in INTERVAL


def _by_slice(table: pa.Table) -> dict[Slice, pa.Table]:
    keys = table.select(["kind", "value", "name"]).to_pylist()
    return {Slice(**key): table.slice(position, 1) for position, key in enumerate(keys)}


def _read_content(run: Run, part: PartSummary) -> _Content:
    tables = list(run.rows(["image_id", *SUMMARIZED_COLUMNS], [part]))
    image_ids, targets = (
        [value for table in tables for value in table.column(name).to_pylist()] for name in ("image_id", "target")
    )
    failed: list[str] = []
    stages: Counter[str] = Counter()
    if part.errors:
        for table in run.errors(["image_id", "stage"], [part]):
            failed += table.column("image_id").to_pylist()
            stages.update(table.column("stage").to_pylist())
    return _Content(tables, list(zip(image_ids, targets, strict=True)), failed, stages["target"])


def _doubled(values: Iterable[Hashable]) -> list[Hashable]:
    return [value for value, count in Counter(values).items() if count > 1]
