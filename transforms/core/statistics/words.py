"""Exact integers of any size in arrays: the ground of every sum that is kept.

An array of integers `[…, elements]` is held as two's complement words of 64 bits, int64 `[…, words, elements]`, the
most significant first, in as few words as all of its elements fit into, two at least: so equal integers have equal
words. Python's integers would take three times the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

FRACTION_BITS = 44
"""A value is rounded to a whole number of units of 2**-44 before it is added."""

GroupSums = Callable[[np.ndarray], np.ndarray]
"""Adds rows up by groups: int64 `[rows, elements]` → `[groups, elements]`."""

_FEWEST = 2
_WORD = 64
_LIMB_BITS = 22
_LOW = (1 << _WORD) - 1

MOST_ROWS = 1 << 14
"""Rows that can be added in one go: sums of products of limbs stay below 2**62."""


def units_of(values: np.ndarray) -> np.ndarray:
    """Returns finite `values` as whole numbers of units, float64 of the same shape.

    Raises:
        ValueError: one is not finite.
    """
    units = np.rint(np.asarray(values, np.float64) * 2.0**FRACTION_BITS)
    if not np.isfinite(units).all():
        raise ValueError("values that are not finite have no sum")
    return units


def limbs_of(units: np.ndarray) -> list[np.ndarray]:
    """Returns int64 arrays, least significant first, of which `Σ limb << 22 * position` are the units.

    All but the last are in [0, 2**22), the last is of 23 bits and a sign.

    Args:
        units: float64, whole numbers; of any shape.
    """
    limbs, rest = [], units
    while (np.abs(rest) >= 2.0 ** (_LIMB_BITS + 1)).any():
        above = np.floor(rest * 2.0**-_LIMB_BITS)
        limbs.append((rest - above * 2.0**_LIMB_BITS).astype(np.int64))
        rest = above
    return [*limbs, rest.astype(np.int64)]


def add_words(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the sums of integers as words; both have as many elements, perhaps in a different number of words."""
    words = max(one.shape[-2], other.shape[-2]) + 1
    return shrunk(_add(_widened(one, words), _widened(other, words)))


def shrunk(words: np.ndarray) -> np.ndarray:
    """Returns the same integers in as few words as all of them fit into."""
    spare = 0
    while words.shape[-2] - spare > _FEWEST:
        if not (words[..., spare, :] == words[..., spare + 1, :] >> (_WORD - 1)).all():
            break
        spare += 1
    return np.ascontiguousarray(words[..., spare:, :])


def integers(words: np.ndarray) -> list[int]:
    """Returns the integers that `words` `[words, elements]` hold."""
    total = [0] * words.shape[-1]
    for position, word in enumerate(words):
        numbers = word if position == 0 else np.ascontiguousarray(word).view(np.uint64)
        total = [(above << _WORD) + one for above, one in zip(total, numbers.tolist(), strict=True)]
    return total


def words_of(numbers: Sequence[int]) -> np.ndarray:
    """Returns integers as words `[words, elements]`."""
    bits = max((number.bit_length() for number in numbers), default=0) + 1
    count = max(_FEWEST, -(-bits // _WORD))
    words = [[_signed(number >> _WORD * place & _LOW) for number in numbers] for place in reversed(range(count))]
    return np.array(words, np.int64).reshape(count, len(numbers))


def stacked(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns arrays of integers `[groups, words, elements]` as one, `[groups, parts, words, elements]`."""
    return np.stack(_alike(parts), axis=1)


def joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    """Returns arrays of integers `[…, words, elements]` as one, element after element."""
    return np.concatenate(_alike(parts), axis=-1)


def group_sums(limbs: Sequence[np.ndarray], sums: GroupSums) -> np.ndarray:
    """Returns the sums over groups of rows, as words `[groups, words, elements]`.

    Args:
        limbs: of MOST_ROWS rows at most, `[rows, elements]` each.
        sums: adds them up by groups.
    """
    return _shifted_sum([(sums(limb), _LIMB_BITS * place) for place, limb in enumerate(limbs)])


def group_squares(limbs: Sequence[np.ndarray], sums: GroupSums) -> np.ndarray:
    """Returns the sums over groups of the squares of rows; as `group_sums`."""
    terms = [(sums(limb * limb), 2 * _LIMB_BITS * place) for place, limb in enumerate(limbs)]
    for upper in range(1, len(limbs)):
        for lower in range(upper):
            terms.append((sums(limbs[upper] * limbs[lower]), _LIMB_BITS * (upper + lower) + 1))
    return _shifted_sum(terms)


def group_products(one: Sequence[np.ndarray], other: Sequence[np.ndarray], sums: GroupSums) -> np.ndarray:
    """Returns the sums over groups of the products of rows with other rows; as `group_sums`.

    Args:
        one: limbs `[rows, elements]`.
        other: limbs of as many rows, of as many elements or of one, by which all of a row are multiplied.
        sums: adds them up by groups.
    """
    return _shifted_sum(
        [
            (sums(limb * factor), _LIMB_BITS * (place + position))
            for place, limb in enumerate(one)
            for position, factor in enumerate(other)
        ]
    )


def _shifted_sum(terms: Sequence[tuple[np.ndarray, int]]) -> np.ndarray:
    """Returns `Σ values << shift` over terms of int64 `[…, elements]` and bits, as words `[…, words, elements]`."""
    words = max(shift for _, shift in terms) // _WORD + 2
    total = _shifted(*terms[0], words)
    for values, shift in terms[1:]:
        total = _add(total, _shifted(values, shift, words))
    return shrunk(total)


def _shifted(values: np.ndarray, shift: int, words: int) -> np.ndarray:
    """Returns `values << shift` of int64 `[…, elements]` in so many words."""
    skipped, bits = divmod(shift, _WORD)
    parts = [values >> _WORD - 1] * (words - skipped - 2)
    parts += [values >> (_WORD - bits) if bits else values >> _WORD - 1, values << bits]
    parts += [np.zeros_like(values)] * skipped
    return np.stack(parts, axis=-2)


def _alike(parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    most = max(part.shape[-2] for part in parts)
    return [_widened(part, most) for part in parts]


def _widened(numbers: np.ndarray, words: int) -> np.ndarray:
    """Returns the same integers in more words."""
    sign = numbers[..., :1, :] >> _WORD - 1
    return np.concatenate([np.repeat(sign, words - numbers.shape[-2], axis=-2), numbers], axis=-2)


def _add(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Returns the sums of integers in as many words each, which hold the sums too."""
    first, second = (np.ascontiguousarray(numbers).view(np.uint64) for numbers in (one, other))
    total = np.empty_like(first)
    carry = np.zeros(total[..., 0, :].shape, np.uint64)
    for word in reversed(range(total.shape[-2])):
        plain = first[..., word, :] + second[..., word, :]
        total[..., word, :] = plain + carry
        carry = ((plain < first[..., word, :]) | (total[..., word, :] < plain)).astype(np.uint64)
    return total.view(np.int64)


def _signed(word: int) -> int:
    return word - (1 << _WORD) if word >> _WORD - 1 else word
