"""Finished runs to findings and a verdict.

In reading order: `placed` (a run's rows by class, as arrays), `findings` (what stands out in one run), `references`
(the runs to compare with), `thresholds` (what counts as a change, from YAML), `tails` (pictures that look where the
reference's hardly ever do), `pairs_words` (what another model and pictures that come again mean), `changes` (what
changed, in words), `verdict` (headline, reasons and exit code), `record` (what audit.json holds), `compare` (one or
more runs to audit.json), `evidence` (the tails in an audit.json), `places` (in words),
`monitor` (a folder of nights). Needs neither TensorFlow nor Beam, reads no maps.
"""
