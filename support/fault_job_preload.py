"""Imports of a process that is about to run the job; see `support.fault_job`."""

import logging
import os

os.environ["MPLBACKEND"] = "Agg"
logging.getLogger().setLevel(logging.ERROR)

from transforms import process  # noqa: E402

process.import_tensorflow()

import pipeline.launch  # noqa: E402
import pipeline.report  # noqa: E402
import pipeline.run  # noqa: E402, F401
import transforms.core.explain.attributor  # noqa: E402
import transforms.core.model.classifier  # noqa: E402, F401
