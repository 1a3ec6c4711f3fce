"""Which images of a chunk are in a sample, by their content."""

from __future__ import annotations

from transforms.core.record import Failure, Image
from transforms.formats.sample import Sample


def images(count: int, name: str = "a") -> list[Image]:
    return [Image(f"{name}#{number}", name, number, b"picture %d" % number) for number in range(count)]


def test_a_share_of_one_passes_everything_on():
    sample = Sample(1.0)
    assert list(sample.of(images(50))) == images(50) and sample.left_out == 0


def test_the_same_pictures_are_chosen_under_any_name_and_in_any_order():
    first = [image.data for image in Sample(0.3).of(images(1000))]
    other = [image.data for image in Sample(0.3).of(images(1000, "b")[::-1])]
    assert first == other[::-1]
    # 5 standard deviations of a binomial of 1,000 and 0.3
    assert abs(len(first) - 300) < 5 * (1000 * 0.3 * 0.7) ** 0.5
    assert set(first) < {image.data for image in Sample(0.6).of(images(1000))}


def test_what_is_left_out_is_counted_once():
    sample = Sample(0.5)
    counts = [sample.take_count() for _ in sample.of(images(100))]
    counts.append(sample.take_count())
    assert sum(counts) == sample.left_out > 0 and sample.take_count() == 0


def test_unreadable_records_keep_their_share_and_damage_is_always_passed_on():
    records = [Failure(f"a#{number}", "a", number, "read", "RecordError", "bad") for number in range(1000)]
    kept = list(Sample(0.3).of(records))
    assert abs(len(kept) - 300) < 5 * (1000 * 0.3 * 0.7) ** 0.5
    damages = [Failure(f"a#{number}", "a", number, "read", error, "") for number in range(50) for error in ERRORS]
    assert list(Sample(1e-9).of(damages)) == damages


ERRORS = ("ShardError", "RefusedError")
