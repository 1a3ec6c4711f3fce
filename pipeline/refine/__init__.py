"""Converged maps for chosen pictures of a finished run.

In reading order: `request` (what is asked for), `options` (what a run's stored config says of the job), `choose` (which
pictures, and their rows), `attribute` (chunks → explanations), `record` (explanations → parts of `refined/`), `command`
(the whole of it).

It is a loop in this process, over the attributor that a worker would use, and not a Beam job: there are a few hundred
pictures, scattered over all chunks, and reading on to the next chunk keeps the batches of the gradient step full, which
a bundle for each chunk would not.
"""
