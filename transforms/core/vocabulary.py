"""The words that options and stored rows are made of, and the limits of what is read: each is said here, once.

The module that implements a vocabulary maps its words to functions. Imports nothing of ours, nor anything large, so
that whatever needs a word has it at once.
"""

from __future__ import annotations

import typing
from typing import Literal

INPUT_FORMATS = ("tfrecord", "webdataset", "parquet", "files")
"""What shards may be."""

IMAGE_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
"""What images are decoded from; of an animation, the first frame."""

Stage = Literal["read", "decode", "label", "attribute"]
"""What had been begun with an image that failed."""

STAGES: tuple[Stage, ...] = typing.get_args(Stage)

RESIZES = ("pad", "crop", "stretch")
PIXELS = ("unit", "signed", "byte", "imagenet", "caffe")
TARGETS = ("top1", "topK", "label", "class:N")
SCORES = ("probability", "logit", "log_odds")
BASELINES = ("black", "white", "gray", "mean", "color:R,G,B", "blur:SIGMA", "uniform:K", "gaussian:K", "image:URI")
FIXED_RULES = ("midpoint", "trapezoid", "left", "right", "simpson", "gauss_legendre")
RULES = ("adaptive", *FIXED_RULES)
CHANNELS = ("all", "sum", "abs_sum", "mean", "max")
DTYPES = ("float16", "float32", "int8")
GRIDS = (8, 16, 32)
PRECISIONS = ("float32", "mixed")

VECTORS = ("grid", "signed_grid", "channel_share")
"""Columns of rows that hold a vector of shares, each less than 2 in magnitude."""

SLICE_KINDS = ("all", "predicted", "target", "label", "wrong", "confusion", "shard")
"""Kinds of slices that every run may have, beside a kind for each field."""

MAX_PIXELS = 64_000_000
"""Of an image, by default; `HIGHEST_MAX_PIXELS` is the most that may be allowed."""

HIGHEST_MAX_PIXELS = 4_000_000_000

MAX_BYTES = 64 << 20
"""Of an encoded image, a mask, or a TFRecord, by default."""

DECODE_SECONDS = 60.0
"""An image may take this long: 10 to 20 times what one of MAX_PIXELS takes on a slow core. More may take longer."""

DECODE_BYTES = 512 << 20
DECODE_BYTES_A_PIXEL = 32
"""Decoding may take DECODE_BYTES, and this many for each pixel allowed: WebP takes 23, the most of all formats."""

MAX_LABEL = 2**31 - 1
MAX_LABEL_BYTES = 1 << 20
"""Of a label or JSON member of a tar."""

MAX_KEY_BYTES = 1 << 10
"""Of a sample's key in a tar, for it to name the image."""

MAX_TAR_HEADER_BYTES = 1 << 20
"""Of an extended header."""

MAX_PAGE_BYTES = 1 << 30
"""Of a Parquet page, unpacked."""

MAX_FOOTER_BYTES = 1 << 24
"""Of a Parquet file's footer, and the most members of a list there."""

MAX_SCHEMA_LIST = 4_000
"""Row groups, columns, levels: Arrow builds a schema by recursion, and ran out of stack at 20,000."""

MAX_CLASSES = 1 << 20
MAX_INPUT_SIDE = 8192
"""Pixels of a model's input, in height and width."""

MAX_STEPS = 100_000
MAX_GAUSS_LEGENDRE_STEPS = 1000
"""Its nodes are eigenvalues of a matrix with as many rows."""

MAX_RANDOM_BASELINES = 256
MAX_BLUR_SIGMA = 1000.0
MAX_ERROR_RATE = 0.01
"""Share of the images that may fail, by default."""
