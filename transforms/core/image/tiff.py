"""TIFF files that Pillow does not open: floats of 16 and 64 bits, and bands that are neither gray, RGB(A) nor CMYK.

tifffile reads them, which is an extra: it reads uncompressed, deflated and PackBits files by itself, and others if
imagecodecs is installed.
"""

from __future__ import annotations

import io

import numpy as np
import PIL.Image

from transforms.core.image.bands import Bands, of_array
from transforms.core.image.decoding import DecodeError, Decoding
from transforms.core.image.identify import check_pixels
from transforms.core.vocabulary import MAX_ARRAY_CHANNELS

_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COMPRESSIONS = {1: "none", 5: "LZW", 8: "deflate", 32946: "deflate", 32773: "PackBits", 50000: "Zstandard"}
_BITS_PER_SAMPLE, _PHOTOMETRIC, _ORIENTATION, _SAMPLES_PER_PIXEL = 258, 262, 274, 277
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5


def is_tiff(data: bytes) -> bool:
    """Returns whether bytes begin like a TIFF or BigTIFF."""
    return data.startswith(_MAGIC)


def is_reduced(picture: PIL.Image.Image, how: Decoding) -> bool:
    """Returns whether Pillow left out bands that are no mere addition to colors, or bits that `value_range` counts."""
    tags = getattr(picture, "tag_v2", {})
    bands, bits = len(picture.getbands()), tags.get(_BITS_PER_SAMPLE, (8,))
    matter = how.channels > 3 or tags.get(_PHOTOMETRIC) in (_WHITE_IS_ZERO, _BLACK_IS_ZERO)
    return (matter and tags.get(_SAMPLES_PER_PIXEL, 1) > bands) or (
        how.value_range is not None and bands > 1 and max(bits) > 8
    )


def read(data: bytes, how: Decoding) -> tuple[Bands, int]:
    """Returns the bands of the first picture of a TIFF, not rotated, and its orientation tag.

    Raises:
        DecodeError: tifffile is not installed; or the picture is too large, of another photometric interpretation or
            compression, or damaged.
    """
    try:
        import tifffile
    except ImportError as error:
        why = "a TIFF of values that Pillow does not decode takes the extra tiff: pip install 'ig-audit[tiff]'"
        raise DecodeError(why) from error
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        check_pixels(page.imagewidth, page.imagelength, how.max_pixels)
        photometric, compression = int(page.photometric), int(page.compression)
        if page.imagedepth != 1 or not 0 < page.samplesperpixel <= MAX_ARRAY_CHANNELS:
            raise DecodeError(f"a TIFF of depth {page.imagedepth} with {page.samplesperpixel} values a pixel")
        if photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK):
            raise DecodeError(f"a TIFF of photometric interpretation {photometric}, which is not gray, RGB or CMYK")
        if compression not in _COMPRESSIONS:
            allowed = ", ".join(dict.fromkeys(_COMPRESSIONS.values()))
            raise DecodeError(f"a TIFF of bands or floats with compression {compression}; expected {allowed}")
        values = np.asarray(page.asarray(maxworkers=1))
        planar, orientation = int(page.planarconfig) == 2, page.tags.get(_ORIENTATION)
    shape = (page.imagelength, page.imagewidth)
    values = values.reshape(-1, *shape).transpose(1, 2, 0) if planar else values.reshape(*shape, -1)
    if values.dtype.kind not in "biuf":
        raise DecodeError(f"a TIFF of values of type {values.dtype}")
    return of_array(values, photometric == _WHITE_IS_ZERO), orientation.value if orientation else 1
