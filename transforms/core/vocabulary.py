"""The allowed values of options and stored columns, and the limits of the input: each is defined here, once.

The module that implements a vocabulary maps its words to functions. Imports nothing of this project and nothing large,
so that every module can import it quickly.
"""

from __future__ import annotations

import typing
from typing import Literal

INPUT_FORMATS = ("tfrecord", "webdataset", "parquet", "files")
"""The formats of shards."""

IMAGE_FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "BMP",
    "TIFF",
    "GIF",
    "AVIF",
    "JPEG2000",
    "PPM",
    "ICO",
    "PCX",
    "SGI",
    "QOI",
    "TGA",
)
"""The formats of images that Pillow decodes, in the order in which they are tried; TGA, without magic word, is last."""

IMAGE_EXTENSIONS = (
    "jpg",
    "jpeg",
    "jpe",
    "jfif",
    "png",
    "webp",
    "bmp",
    "tif",
    "tiff",
    "gif",
    "avif",
    "jp2",
    "j2k",
    "jpx",
    "jpf",
    "j2c",
    "jpc",
    "heic",
    "heif",
    "hif",
    "ppm",
    "pgm",
    "pbm",
    "pnm",
    "pfm",
    "tga",
    "ico",
    "pcx",
    "sgi",
    "qoi",
    "npy",
)
"""Names of pictures end in one of these, or in anything else if their content is that of a picture."""

Stage = Literal["read", "decode", "label", "target", "attribute"]
"""The step at which an image failed; at `target`, none of what was to be explained is in the image."""

STAGES: tuple[Stage, ...] = typing.get_args(Stage)

RESIZES = ("pad", "crop", "stretch")
PIXELS = ("unit", "signed", "byte", "imagenet", "caffe")
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of ImageNet's red, green and blue in [0, 1], as PyTorch and Keras use them."""

CAFFE_MEAN = (103.939, 116.779, 123.68)
"""Of ImageNet's blue, green and red in [0, 255], as Caffe and Keras use it."""

BACKGROUNDS = ("auto", "true", "false")
LAYOUTS = ("auto", "channels_last", "channels_first")
"""Where the channels are in a model's input: after height and width, or before them."""

TARGETS = ("top1", "topK", "label", "labels", "class:N", "above:P", "none")
OUTPUTS = ("auto", "logits", "softmax", "sigmoid", "values")
"""What the numbers are that a model puts out; `values` are those of a regression."""

TASKS = ("classes", "binary", "labels", "values", "dense")
"""What a model decides: one of several classes, one of two from one output, any number of labels, a number for each
output, or something of another shape, of which a function makes a score."""

SCORES = ("probability", "logit", "log_odds")
BASELINES = ("black", "white", "gray", "mean", "color:R,G,B", "blur:SIGMA", "uniform:K", "gaussian:K", "image:URI")
FIXED_RULES = ("midpoint", "trapezoid", "left", "right", "simpson", "gauss_legendre")
RULES = ("adaptive", *FIXED_RULES, "shifted")
REDUCTIONS = ("all", "sum", "abs_sum", "mean", "max", "min")
"""What is stored of a map's channels, if a map is stored."""

CHANNELS = (*REDUCTIONS, "none")
DTYPES = ("float16", "float32", "int8")
GRIDS = (8, 16, 32)
PRECISIONS = ("float32", "mixed")

VECTORS = ("grid", "signed_grid", "channel_share")
"""Columns of rows that hold a vector of shares, each less than 2 in magnitude."""

CELLS = "cells"
"""Column of rows that holds the signed sum of each cell of the grid."""

SECOND_CELLS = "second_cells"
"""The same of a second, independent map of few steps, of which only a share of the rows has one."""

MAP_SCALARS = (
    "positive_share",
    "gini",
    "entropy",
    "center_row",
    "center_col",
    "border_share",
    "mask_share",
    "pointing_hit",
)
"""Columns of rows that hold a number of the map."""

REFERENCE = "reference_"
"""What begins the columns that describe the accurate map of a row, of which only a share of the rows has one."""

CORRECTED = (CELLS, *VECTORS, *MAP_SCALARS)
"""Columns of rows that describe a map, and whose means the accurate maps of some rows correct."""

REFERENCED = (*CORRECTED, "steps", "error_estimate", "converged")
"""Columns of rows that are also stored of the accurate map where there is one."""

REFERENCE_EXTRA = "reference_extra"
"""Column of rows: whether a picture has an accurate map only since more of its class get one than of all."""

REFERENCE_COLUMNS = (*(REFERENCE + name for name in REFERENCED), REFERENCE_EXTRA)
"""Columns of rows that only runs with a `reference_share` have."""

TASK_COLUMNS = {"labels": ("labels", "decided"), "values": ("label_value", "label_difference")}
"""Columns of rows that only runs of such a task have."""

FEW_STEPS_COLUMNS = (SECOND_CELLS, *REFERENCE_COLUMNS)
"""Columns of rows that only some runs of few steps have: they, too, may be asked for of any run."""

OPTIONAL_COLUMNS = tuple(column for columns in TASK_COLUMNS.values() for column in columns)
"""Columns that may be asked for of any run: those that it does not store are left out."""

CONTENT = "content"
"""Column of rows that tells whether two pictures are the same, whatever their ids are."""

LATER_COLUMNS = (CONTENT, CELLS)
"""Columns that runs of earlier versions lack: they may be asked for of any run, too."""

MAP_COLUMNS = ("attribution", "scale")
"""Columns of rows that hold the map, which a run may not store."""

SLICE_KINDS = ("all", "predicted", "target", "label", "wrong", "confusion", "shard")
"""Kinds of slices that every run may have, besides a kind for each field."""

MAX_PIXELS = 64_000_000
"""Pixels of an image, by default; the option may raise it to at most `HIGHEST_MAX_PIXELS`."""

HIGHEST_MAX_PIXELS = 4_000_000_000

MAX_BYTES = 64 << 20
"""Size of an encoded image, a mask or a TFRecord, by default."""

DECODE_SECONDS = 60.0
"""Time for an image: 10 to 20 times that of one of MAX_PIXELS on a slow core; twice that of JPEG 2000 and QOI, the
slowest, of MAX_BYTES. Larger images may take longer."""

DECODE_BYTES = 512 << 20
DECODE_BYTES_A_PIXEL = 32
"""Decoding may take DECODE_BYTES, and this many for each pixel allowed: WebP with transparency takes 28, the most."""

MAX_NPY_HEADER_BYTES = 1 << 14
"""Size of the header of an `.npy` file; NumPy writes 118 bytes for a picture."""

MAX_ARRAY_CHANNELS = 1 << 12
"""Channels of a picture that is an array."""

MAX_LABEL = 2**53
"""Magnitude of a label that is a whole number: a float holds all of these."""

MAX_LABEL_BYTES = 1 << 20
"""Size of a label or JSON member of a tar."""

MAX_LABEL_LETTERS = 1 << 12
"""Length of a label that is a text."""

MAX_LABEL_ITEMS = 1 << 16
"""Length of a label that is a list or a vector."""

MAX_KEY_BYTES = 1 << 10
"""Size of a sample's key in a tar up to which image ids contain it."""

MAX_TAR_HEADER_BYTES = 1 << 20
"""Size of an extended header of a tar."""

MAX_PAGE_BYTES = 1 << 30
"""Size of a Parquet page, unpacked."""

MAX_COLUMN_VALUES = 256_000_000
"""Values of a Parquet column in one row group."""

MAX_FOOTER_BYTES = 1 << 24
"""Size of a Parquet file's footer, and of a page header."""

MAX_SCHEMA_LIST = 4_000
"""Row groups, columns, levels: Arrow builds a schema by recursion, and ran out of stack at 20,000."""

MAX_CLASSES = 1 << 20
MAX_INPUT_SIDE = 8192
"""Pixels of a model's input, in height and width."""

MAX_INPUT_CHANNELS = 1024

MAX_BATCH = 4096
"""Steps in one model call."""

MAX_STEPS = 100_000
MAX_GAUSS_LEGENDRE_STEPS = 1000
"""The nodes of this rule are eigenvalues of a matrix with as many rows."""

MAX_RANDOM_BASELINES = 256
MAX_BLUR_SIGMA = 1000.0
MAX_ERROR_RATE = 0.01
"""Share of the images that may fail, by default."""
