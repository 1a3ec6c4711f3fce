"""Is a run what its manifest says?

In reading order: `check` (recomputes the statistics from the stored rows), `image_hashes` (finds images that are
stored twice in bounded memory).
"""
