"""Captum (https://github.com/pytorch/captum) on PyTorch, with the network of `efficientnet-lite-pytorch`.

Both network and pictures lie in memory channels last, which on a CPU is the faster by half.
"""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import IntegratedGradients
from efficientnet_lite_pytorch import EfficientNet

from benchmarks.contenders.process import Contender, Setup, serve

_LAYOUT = torch.channels_last


class Captum(Contender):
    """Explains image by image, by the most accurate of its methods, riemann_middle; Gauss-Legendre is its default."""

    def __init__(self, setup: Setup) -> None:
        self._integrated_gradients = IntegratedGradients(_Probabilities(setup.weights).eval().to(memory_format=_LAYOUT))

    def attribute(self, images: np.ndarray, targets: np.ndarray, steps: int, batch: int) -> list[np.ndarray]:
        """See Contender."""
        return [self._explain(image, int(target), steps, batch) for image, target in zip(images, targets, strict=True)]

    def _explain(self, image: np.ndarray, target: int, steps: int, batch: int) -> np.ndarray:
        attribution = self._integrated_gradients.attribute(
            torch.from_numpy(image).permute(2, 0, 1)[None].contiguous(memory_format=_LAYOUT),
            target=target,
            n_steps=steps,
            method="riemann_middle",
            internal_batch_size=batch,
        )
        return attribution[0].permute(1, 2, 0).detach().numpy()


class _Probabilities(torch.nn.Module):
    """Pixels `[batch, 3, 224, 224]` in [0, 1] → probabilities: ImageNet's normalisation, network, softmax."""

    def __init__(self, weights: str) -> None:
        super().__init__()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.softmax(self.network((images - self.mean) / self.std), dim=1)


if __name__ == "__main__":
    serve(Captum)
