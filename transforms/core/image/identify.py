"""Encoded bytes → an opened picture, whose format its content decides and whose pixels are within the limit.

Pillow decodes, restricted to `IMAGE_FORMATS` and, if pillow-heif is installed, HEIC. An image over the pixel limit is
refused before its pixels are decoded; Pillow's own limit does not apply.
"""

from __future__ import annotations

import contextlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator

import PIL
import PIL.Image

from transforms.core.image.decoding import DecodeError
from transforms.core.vocabulary import IMAGE_FORMATS

_PREFIX_BYTES = 16  # passed to Pillow's plugins for detection
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_BITMAP_HEADERS = tuple(size.to_bytes(4, "little") for size in (12, 40, 52, 56, 64, 108, 124))
_REFUSALS = (SyntaxError, IndexError, TypeError, struct.error)
"""What Pillow's plugins raise if the bytes are of another format."""

_QUIET = threading.Lock()
"""Held while Pillow's warnings are silenced: warning filters belong to the process, and each thread restores those that
it found."""


@contextlib.contextmanager
def opened(data: bytes, max_pixels: int) -> Iterator[PIL.Image.Image]:
    """Opens a picture of at most `max_pixels` pixels, and decodes them.

    Pillow's warnings about odd metadata are silenced in the block: the picture is either decoded, or an error gives the
    reason.

    Raises:
        DecodeError: it has more pixels, or HEIC is not installed.
        PIL.UnidentifiedImageError: the bytes are in none of the formats.
    """
    with _QUIET, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with identify(data, max_pixels) as picture:
            check_pixels(picture.width, picture.height, max_pixels)
            picture.load()
            check_pixels(picture.width, picture.height, max_pixels)  # some formats repeat the size with the pixels
            yield picture


def check_pixels(width: int, height: int, max_pixels: int) -> None:
    """Raises DecodeError if a picture has more than `max_pixels` pixels."""
    if width * height > max_pixels:
        raise DecodeError(f"{width} x {height} is more than the {max_pixels} pixels allowed (max_pixels)")


def identify(data: bytes, max_pixels: int) -> PIL.Image.Image:
    """Returns a picture of one of the formats, of which only the header is read.

    Like `PIL.Image.open`, but without Pillow's limit of pixels, which is process-wide and therefore the user's to set.

    Raises:
        DecodeError: it is an icon with more pixels than are allowed, or HEIC is not installed.
        PIL.UnidentifiedImageError: the bytes are in none of these formats.
    """
    PIL.Image.preinit()
    for name in IMAGE_FORMATS:
        if name not in PIL.Image.OPEN:
            PIL.Image.init()
        factory, accepts = PIL.Image.OPEN[name]
        if (accepts is None or accepts(data[:_PREFIX_BYTES]) is True) and _fits(name, data):
            with contextlib.suppress(*_REFUSALS):
                return _icon(data, max_pixels) if name == "ICO" else factory(io.BytesIO(data), "")
    if data[4:8] == b"ftyp" and data[8:12] in _HEIF_BRANDS:
        return _heif(data)
    raise PIL.UnidentifiedImageError("no format fits")


def is_picture(head: bytes) -> bool:
    """Returns whether a file that begins with `head` is in one of the formats, or an array; 18 bytes are enough."""
    if head.startswith(b"\x93NUMPY") or (head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS):
        return True
    PIL.Image.init()
    for name in IMAGE_FORMATS:
        _, accepts = PIL.Image.OPEN[name]
        if (accepts is None or accepts(head[:_PREFIX_BYTES])) and _fits(name, head):
            return True
    return False


def _fits(name: str, data: bytes) -> bool:
    """Returns whether more than the two bytes that Pillow looks at fit, for formats whose magic word is that short."""
    if name == "TGA":
        return _is_tga(data)
    if name == "BMP":  # the size of its second header
        return data[14:18] in _BITMAP_HEADERS
    if name == "PPM":  # plain text begins like that too
        return data[2:3].isspace() or data[1:2] in b"fy"
    if name == "PCX":  # version, run-length encoding, bits of a pixel, and a byte that is reserved
        return data[1:2] in b"\x00\x02\x03\x05" and data[2:3] == b"\x01" and data[3:4] in b"\x01\x02\x04\x08"
    if name == "SGI":  # raw or run-length encoded, bytes of a value, dimensions
        return data[2:3] in b"\x00\x01" and data[3:4] in b"\x01\x02" and data[4:6] in (b"\0\1", b"\0\2", b"\0\3")
    return True


def _is_tga(data: bytes) -> bool:
    """Returns whether the header can be that of a TGA, which has no magic word.

    Kind, depth of pixels and palette must fit together, and fields that do not apply must be 0, so that at least seven
    bytes are as good as fixed: no text begins like that, and no other format.
    """
    if len(data) < 18:
        return False
    _, has_palette, kind, first, entries, entry_bits, _, _, width, height, depth, flags = struct.unpack_from(
        "<3B2HB4H2B", data
    )
    if not (width and height) or flags & 0xC0:
        return False
    if has_palette == 1:
        return kind in (1, 9) and depth == 8 and first < 256 and 0 < entries <= 256 and entry_bits in (16, 24, 32)
    unused = has_palette == first == entries == entry_bits == 0
    return unused and depth in {2: (16, 24, 32), 10: (16, 24, 32), 3: (8, 16), 11: (8, 16)}.get(kind, ())


def _icon(data: bytes, max_pixels: int) -> PIL.Image.Image:
    """Returns the largest picture of an icon; its size is checked first, as Pillow decodes icons when it opens them."""
    from PIL.IcoImagePlugin import IcoFile

    icon = IcoFile(io.BytesIO(data))
    start = icon.entry[0].offset
    if data.startswith(_PNG_MAGIC, start):
        picture: PIL.Image.Image = PIL.Image.OPEN["PNG"][0](io.BytesIO(data[start:]), "")
        return picture
    width, height = struct.unpack_from("<2i", data, start + 4)
    check_pixels(abs(width), abs(height) // 2, max_pixels)  # its mask is stored below it
    return icon.frame(0)


def _heif(data: bytes) -> PIL.Image.Image:
    try:
        from pillow_heif.as_plugin import HeifImageFile
    except ImportError as error:
        raise DecodeError("HEIC takes the extra heif: pip install 'ig-audit[heif]'") from error
    try:
        picture: PIL.Image.Image = HeifImageFile(io.BytesIO(data), "")
    except _REFUSALS as error:
        raise PIL.UnidentifiedImageError("no format fits") from error
    return picture
