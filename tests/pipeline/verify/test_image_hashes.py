"""Images that several parts have are counted as a set would count them, however few hashes are compared at once."""

from __future__ import annotations

import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.verify import image_hashes
from pipeline.verify.image_hashes import ImageHashes

PARTS = st.lists(st.frozensets(st.integers(0, 30).map("image {}".format)), max_size=8)


@pytest.mark.parametrize(("block", "compared"), [(1 << 16, 1 << 18), (3, 4)])
@given(parts=PARTS)
def test_shared_images_are_counted(block, compared, parts):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_hashes, "_BLOCK", block)
        patch.setattr(image_hashes, "_COMPARED", compared)
        hashes = ImageHashes(io.BytesIO())
        for number, images in enumerate(parts):
            hashes.add(f"part {number}", images)
        counts = Counter(image for images in parts for image in images)
        shared = {f"part {number}": sum(counts[image] > 1 for image in images) for number, images in enumerate(parts)}
        assert hashes.shared() == {part: count for part, count in shared.items() if count}
