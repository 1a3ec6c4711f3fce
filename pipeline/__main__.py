"""Makes `python -m pipeline` the same as `ig-audit`."""

import sys

from pipeline.cli import main

sys.exit(main())
