"""How far apart black and white are when a frozen graph's first layer with weights is reached."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from transforms.core.model.passes.frozen import FrozenGraph
from transforms.core.model.passes.nodes import Nodes
from transforms.core.model.passes.stem import WEIGHTED, affine_chain


def input_scale(frozen: FrozenGraph, shape: tuple[int, ...]) -> float:
    """Returns the largest difference of white and black at the first layer, after all scaling.

    Args:
        frozen: a flat graph.
        shape: (height, width, channels) of an image.
    """
    end = frozen.input
    for node in affine_chain(Nodes(frozen)):
        if node.op in WEIGHTED:
            break
        end = node.name
    head = Nodes(FrozenGraph(frozen.graph, frozen.input, f"{end}:0")).frozen()
    images = np.stack([np.zeros(shape, np.float32), np.ones(shape, np.float32)])
    black, white = tf.function(head, autograph=False)(tf.constant(images)).numpy().astype(np.float64)
    return float(np.abs(white - black).max())
