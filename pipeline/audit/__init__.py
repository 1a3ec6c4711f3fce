"""Finished runs to a verdict.

In reading order: `references` (the runs to compare with), `thresholds` (what counts as a change, from YAML),
`compare` (two or more runs to audit.json), `verdict` (headline, reasons and exit code). Needs neither TensorFlow nor
Beam, reads no maps.
"""
