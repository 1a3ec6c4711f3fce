"""Finished runs to findings and a verdict.

In reading order: `placed` (a run's rows by class, as arrays), `findings` (what stands out in one run), `references`
(the runs to compare with), `thresholds` (what counts as a change, from YAML), `compare` (one or more runs to
audit.json), `verdict` (headline, reasons and exit code). Needs neither TensorFlow nor Beam, reads no maps.
"""
