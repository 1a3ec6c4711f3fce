"""Makes `python -m pipeline` the same as `ig-audit`."""

from pipeline.cli import main
from transforms.process import leave

leave(main())
