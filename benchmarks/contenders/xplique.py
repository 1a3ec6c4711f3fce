"""Xplique (https://github.com/deel-ai/xplique): trapezoidal rule on `steps` points."""

from __future__ import annotations

import functools

import numpy as np
from xplique.attributions import IntegratedGradients

from benchmarks.contenders.keras_model import load_probabilities
from benchmarks.contenders.process import Contender, Setup, serve


class Xplique(Contender):
    """Explains with one explainer for each number of steps and batch size."""

    def __init__(self, setup: Setup) -> None:
        self._model = load_probabilities(setup.keras_model)
        self._classes = self._model.outputs[0].shape[-1]
        self._explainer = functools.cache(self._make)

    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> np.ndarray:
        """See Contender."""
        one_hot = np.eye(self._classes, dtype=np.float32)[targets]
        return self._explainer(steps, batch).explain(images, one_hot).numpy()

    def _make(self, steps: int, batch: int) -> IntegratedGradients:
        return IntegratedGradients(self._model, batch_size=batch, steps=steps, reducer=None)


if __name__ == "__main__":
    serve(Xplique)
