"""`python -m pipeline` is `ig-audit`."""

import sys

from pipeline.cli import main

sys.exit(main())
