"""Each pass on graphs made for it: what it must change, what it must leave alone, and the same values after."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from tests.networks import channels, tensor
from transforms.core.model.passes.batch_norm import fold_batch_norm
from transforms.core.model.passes.freeze import flatten, freeze
from transforms.core.model.passes.frozen import FrozenGraph, NotApplicableError
from transforms.core.model.passes.logits import ending
from transforms.core.model.passes.pointwise import mark_pointwise
from transforms.core.model.passes.simplify import simplify
from transforms.core.model.passes.stem import Stem, cut_stem
from transforms.core.model.passes.sums import keep_sums_apart

SHAPE = (8, 8, 3)

Function = Callable[[Any], Any]


def frozen(function: Function, shape: tuple[int, ...] = SHAPE) -> FrozenGraph:
    spec = tf.TensorSpec([None, *shape], tf.float32)
    return freeze(tf.function(function, autograph=False).get_concrete_function(spec))


def simplified(function: Function, shape: tuple[int, ...] = SHAPE) -> FrozenGraph:
    return simplify(frozen(function, shape))


def ops(graph: FrozenGraph) -> Counter[str]:
    return Counter(node.op for node in graph.graph.node if node.op not in ("Const", "Placeholder"))


def images(shape: tuple[int, ...] = SHAPE) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(2, *shape)), tf.float32)


def gradient(function: Function, values: tf.Tensor) -> np.ndarray:
    """Returns the gradient of a nonlinear number of the outputs: each output counts differently."""

    @tf.function(autograph=False)
    def differentiate(values: tf.Tensor) -> tf.Tensor:
        return tf.gradients(tf.reduce_sum(tf.sin(function(values))), values)[0]

    return differentiate(values).numpy()


def assert_equal(graph: FrozenGraph, function: Function, shape: tuple[int, ...] = SHAPE) -> None:
    """Holds values and gradients of `graph` against those of `function`."""
    values = images(shape)
    wanted = function(values).numpy()
    assert tf.function(graph, autograph=False)(values).numpy() == pytest.approx(wanted, rel=1e-5, abs=1e-5)  # rounding
    assert gradient(graph, values) == pytest.approx(gradient(function, values), rel=1e-4, abs=1e-5)  # rounding


def conv(values: Any, kernel: int = 3, outputs: int = 4, padding: str = "SAME", strides: int = 1) -> Any:
    return tf.nn.conv2d(values, tensor(kernel, kernel, values.shape[-1], outputs), strides, padding)


def depthwise(values: Any, padding: str = "SAME") -> Any:
    return tf.nn.depthwise_conv2d(values, tensor(3, 3, values.shape[-1], 2), [1, 1, 1, 1], padding)


def dense(values: Any) -> Any:
    return tf.reduce_mean(values, [1, 2]) @ tensor(values.shape[-1], 5)


def dense_transposed(values: Any) -> Any:
    return tf.matmul(tf.reduce_mean(values, [1, 2]), tensor(5, values.shape[-1]), transpose_b=True)


def fused(values: Any) -> Any:
    return tf.compat.v1.nn.fused_batch_norm(values, **channels(values.shape[-1]), epsilon=1e-3, is_training=False)[0]


def written_out(values: Any) -> Any:
    return tf.nn.batch_normalization(values, **channels(values.shape[-1]), variance_epsilon=1e-3)


def centred(values: Any) -> Any:
    norm = channels(values.shape[-1])
    return norm["offset"] - (norm["mean"] - values) / np.sqrt(norm["variance"])


class TestSimplify:
    def test_computes_what_depends_on_constants_alone(self) -> None:
        def function(values: Any) -> Any:
            return tf.identity(values) * tf.exp(tf.constant([1.0, 2.0, 3.0])) + tf.sqrt(2.0)

        graph = simplified(function)
        assert sum(ops(graph).values()) == 2
        assert_equal(graph, function)

    def test_keeps_what_stops_a_gradient(self) -> None:
        def function(values: Any) -> Any:
            return values * tf.stop_gradient(values)

        assert_equal(simplified(function), function)

    def test_keeps_a_graph_that_is_nothing_but_its_input(self) -> None:
        assert_equal(simplified(tf.identity), tf.identity)


class TestBatchNorm:
    @pytest.mark.parametrize(
        ("linear", "norm", "bias"),
        [
            *[(linear, norm, True) for linear in (conv, depthwise) for norm in (fused, written_out, centred)],
            *[(linear, norm, True) for linear in (dense, dense_transposed) for norm in (written_out, centred)],
            *[(linear, written_out, False) for linear in (conv, depthwise, dense)],
        ],
    )
    def test_behind_a_linear_layer_leaves_a_bias(self, linear: Function, norm: Function, bias: bool) -> None:
        def function(values: Any) -> Any:
            x = linear(values)
            return tf.nn.softplus(norm(tf.nn.bias_add(x, tensor(x.shape[-1])) if bias else x))

        graph = fold_batch_norm(simplified(function))
        assert not {"Mul", "AddV2", "Sub", "RealDiv", "FusedBatchNormV3"} & set(ops(graph))
        assert ops(graph)["BiasAdd"] == 1
        assert_equal(graph, function)

    @pytest.mark.parametrize("norm", [fused, written_out])
    @pytest.mark.parametrize(
        "linear",
        [lambda x: conv(x, padding="VALID"), lambda x: conv(x, 1), lambda x: depthwise(x, "VALID")],
        ids=["conv", "1x1", "depthwise"],
    )
    def test_before_a_layer_that_pads_nothing_leaves_a_bias(self, linear: Function, norm: Function) -> None:
        def function(values: Any) -> Any:
            x = linear(norm(tf.nn.softplus(values)))
            return tf.nn.softplus(tf.nn.bias_add(x, tensor(x.shape[-1])))

        graph = fold_batch_norm(simplified(function))
        assert not {"Mul", "AddV2", "Sub", "RealDiv", "FusedBatchNormV3"} & set(ops(graph))
        assert ops(graph)["BiasAdd"] == 1
        assert_equal(graph, function)

    def test_before_a_dense_layer_leaves_a_bias(self) -> None:
        def function(values: Any) -> Any:
            return written_out(tf.reduce_mean(tf.nn.softplus(values), [1, 2])) @ tensor(3, 5)

        graph = fold_batch_norm(simplified(function))
        assert ops(graph) == {"Softplus": 1, "Mean": 1, "MatMul": 1, "BiasAdd": 1}
        assert_equal(graph, function)

    def test_a_shift_before_a_layer_that_pads_is_left_alone(self) -> None:
        with pytest.raises(NotApplicableError):  # zeros beyond the border are not shifted
            fold_batch_norm(simplified(lambda values: conv(written_out(tf.nn.softplus(values)))))

    def test_a_scale_before_a_layer_that_pads_is_folded(self) -> None:
        def function(values: Any) -> Any:
            return conv(tf.nn.softplus(values) * tensor(3))

        graph = fold_batch_norm(simplified(function))
        assert ops(graph) == {"Softplus": 1, "Conv2D": 1}
        assert_equal(graph, function)

    def test_without_a_linear_layer_is_written_out(self) -> None:
        def function(values: Any) -> Any:
            return tf.nn.softplus(fused(tf.nn.softplus(values)))

        graph = fold_batch_norm(frozen(function))
        assert (ops(graph)["Mul"], ops(graph)["AddV2"], ops(graph)["FusedBatchNormV3"]) == (1, 1, 0)
        assert_equal(graph, function)

    def test_of_a_layer_that_is_read_twice_is_left_alone(self) -> None:
        def function(values: Any) -> Any:
            x = conv(values)
            return written_out(x) * tf.sin(x)

        with pytest.raises(NotApplicableError, match="is adjacent to a linear layer"):
            fold_batch_norm(frozen(lambda values: function(values)))

    def test_in_training_is_left_alone(self) -> None:
        def function(values: Any) -> Any:
            norm = channels(4)
            return tf.compat.v1.nn.fused_batch_norm(conv(values), norm["scale"], norm["offset"], is_training=True)[0]

        with pytest.raises(NotApplicableError):
            fold_batch_norm(frozen(function))

    def test_a_scale_that_is_not_per_channel_is_left_alone(self) -> None:
        def function(values: Any) -> Any:
            return conv(values, outputs=8) * tensor(8, 1, scale=1.0)

        with pytest.raises(NotApplicableError):
            fold_batch_norm(simplified(function))


class TestPointwise:
    def test_takes_a_product_for_the_gradient(self) -> None:
        def function(values: Any) -> Any:
            return conv(tf.nn.softplus(conv(values, 1, 6)), 1, 5, padding="VALID")

        graph = mark_pointwise(simplified(function))
        assert_equal(graph, function)
        assert gradient_ops(graph)["Conv2DBackpropInput"] == 0
        assert gradient_ops(simplified(function))["Conv2DBackpropInput"] == 2

    @pytest.mark.parametrize(
        "function",
        [
            lambda values: conv(values, 3),
            lambda values: conv(values, 1, strides=2),
            lambda values: tf.nn.conv2d(tf.concat([values, values], 3), tensor(1, 1, 3, 4), 1, "SAME"),
            lambda values: tf.nn.conv2d(values, tf.reduce_mean(values) * tensor(1, 1, 3, 4), 1, "SAME"),
        ],
        ids=["window", "strides", "groups", "weights that vary"],
    )
    def test_leaves_other_convolutions_alone(self, function: Function) -> None:
        with pytest.raises(NotApplicableError, match="no 1x1 convolution"):
            mark_pointwise(simplified(function))


def gradient_ops(graph: FrozenGraph) -> Counter[str]:
    with tf.Graph().as_default() as traced:
        values = tf.compat.v1.placeholder(tf.float32, [2, *SHAPE])
        tf.gradients(graph(values), values)
    return Counter(op.type for op in traced.get_operations())


def cut(function: Function, shape: tuple[int, ...] = SHAPE) -> Stem:
    stem = cut_stem(simplified(function, shape), shape)
    assert_equal_routes(stem, function, shape)
    return stem


def assert_equal_routes(stem: Stem, function: Function, shape: tuple[int, ...]) -> None:
    values = images(shape)
    points = tf.function(stem.enter, autograph=False)(values)
    assert points.shape == (2, *stem.point_shape)
    outputs = tf.function(stem.outputs, autograph=False)(points)
    assert outputs.numpy() == pytest.approx(function(values).numpy(), rel=1e-5, abs=1e-5)  # rounding
    back = tf.function(stem.leave, autograph=False)(tf.constant(gradient(stem.outputs, points)))
    assert back.numpy() == pytest.approx(gradient(function, values), rel=1e-4, abs=1e-5)  # rounding


class TestStem:
    @pytest.mark.parametrize(
        ("stem", "point"),
        [
            (lambda x: tf.nn.bias_add(conv((x - 0.5) / 0.25, strides=2), tensor(4)), (4, 4, 4)),
            (lambda x: conv(tf.pad(x * 2.0 - 1.0, [[0, 0], [1, 2], [1, 2], [0, 0]]), padding="VALID"), (9, 9, 4)),
            (lambda x: conv(depthwise(tf.reverse(x, [-1]) * 255.0 - tensor(3)), strides=2), (4, 4, 4)),
            (lambda x: tf.transpose(tf.reshape(1.0 - x, [-1, 64, 3]), [0, 2, 1]) @ tensor(64, 7), (3, 7)),
            (lambda x: tf.nn.avg_pool2d(tf.cast(tf.cast(x, tf.float64) * 3.0, tf.float32), 2, 2, "VALID"), (4, 4, 3)),
            (lambda x: conv(tf.image.resize(x, [4, 4]), outputs=2), (4, 4, 2)),
            (lambda x: tf.concat([conv(x, 4, 8, strides=4), np.ones([1, 2, 2, 8]) + 0 * x[:, :2, :2, :1]], 3), None),
        ],
        ids=["normalised", "padded", "reversed", "product", "cast", "resized", "two ways"],
    )
    def test_ends_at_the_last_affine_tensor(self, stem: Function, point: tuple[int, ...] | None) -> None:
        def function(values: Any) -> Any:
            x = tf.nn.softplus(stem(values))
            return tf.reduce_mean(x, list(range(1, x.shape.rank - 1))) @ tensor(int(x.shape[-1]), 3)

        if point is None:
            with pytest.raises(NotApplicableError):
                cut(function)
        else:
            assert cut(function).point_shape == point

    def test_takes_tokens_that_depend_on_the_size_of_the_batch_alone(self) -> None:
        def function(values: Any) -> Any:
            patches = tf.reshape(conv(values, 4, 8, strides=4), [-1, 4, 8])
            token = tf.broadcast_to(tensor(1, 1, 8), [tf.shape(values)[0], 1, 8])
            return tf.nn.softplus(tf.concat([token, patches], 1) + tensor(1, 5, 8))[:, 0]

        assert cut(function).point_shape == (5, 8)

    def test_ends_where_the_input_is_read_twice(self) -> None:
        def function(values: Any) -> Any:
            x = conv(values, strides=2)
            return tf.reduce_mean(x * tf.sin(x), [1, 2])

        assert cut(function).point_shape == (4, 4, 4)

    @pytest.mark.parametrize(
        "first",
        [tf.nn.relu, lambda x: x * x, lambda x: 1.0 / x, lambda x: tf.cast(tf.cast(x, tf.float16), tf.float32)],
        ids=["relu", "square", "inverse", "rounding"],
    )
    def test_does_not_pass_what_is_not_affine(self, first: Function) -> None:
        with pytest.raises(NotApplicableError, match="does not begin with an affine layer"):
            cut_stem(simplified(lambda values: conv(first(values))), SHAPE)

    def test_does_not_mix_images(self) -> None:
        with pytest.raises(NotApplicableError):
            cut_stem(simplified(lambda values: tf.sin(tf.reshape(values, [-1, 3]))), SHAPE)

    def test_is_not_cut_where_the_points_would_be_too_large(self) -> None:
        def wide(values: Any) -> Any:
            return tf.nn.softplus(conv(values, 1, 64))

        with pytest.raises(NotApplicableError, match=r"a path in .* costs more than the stem's work"):
            cut_stem(simplified(wide), SHAPE)


class TestEnding:
    @pytest.mark.parametrize(
        ("last", "name"),
        [
            (tf.nn.softmax, "softmax"),
            (tf.sigmoid, "sigmoid"),
            (lambda z: tf.reshape(tf.identity(tf.nn.softmax(z[:, None])), [-1, 5]), "softmax"),
            (lambda z: tf.cast(tf.squeeze(tf.nn.softmax(tf.cast(z, tf.float16)[:, None]), 1), tf.float32), "softmax"),
            (lambda z: tf.exp(z) / tf.reduce_sum(tf.exp(z), 1, keepdims=True), "softmax"),
            (tf.identity, ""),
            (lambda z: tf.nn.softmax(z) * 2.0, ""),
            (tf.nn.log_softmax, "log_softmax"),
        ],
    )
    def test_is_found_behind_changes_of_shape_and_type(self, last: Function, name: str) -> None:
        assert ending(frozen(lambda values: last(dense(values)))).kind == name


class TestFreeze:
    @pytest.mark.parametrize("beta", [1.0, 1.702])
    def test_differentiates_silu_as_it_is_written(self, beta: float) -> None:
        def function(values: Any) -> Any:
            return tf.nn.silu(values, beta)

        graph = flatten(frozen(function))
        assert ops(graph)["IdentityN"] == 0
        assert_equal(graph, function)

    def test_leaves_other_gradients_of_their_own_to_the_model(self) -> None:
        @tf.custom_gradient
        def straight_through(values: Any) -> Any:
            return tf.round(values), lambda gradient: gradient

        with pytest.raises(NotApplicableError, match="custom gradients"):
            flatten(frozen(straight_through))

    def test_refuses_control_flow(self) -> None:
        def function(values: Any) -> Any:
            return tf.cond(tf.reduce_sum(values) > 0, lambda: values, lambda: -values)

        with pytest.raises(NotApplicableError, match="control flow: StatelessIf"):
            flatten(frozen(function))

    @pytest.mark.parametrize(("channels_in", "filters"), [(6, 6), (3, 6), (6, 4)])
    def test_writes_out_the_depthwise_convolutions_that_keras_leaves_to_xla(
        self, channels_in: int, filters: int
    ) -> None:
        import keras

        groups = 2 if filters == 4 else channels_in
        layer = keras.layers.Conv2D(filters, 3, groups=groups, padding="same", use_bias=False)
        layer.build((None, 8, 8, channels_in))

        def function(values: Any) -> Any:
            return layer(tf.nn.softplus(conv(values, outputs=channels_in)))

        if filters == channels_in:
            graph = flatten(frozen(function))
            assert ops(graph)["DepthwiseConv2dNative"] == 1
            assert_equal(graph, function)
        else:
            with pytest.raises(NotApplicableError, match="calls functions that cannot be inlined"):
                flatten(frozen(function))


def test_sums_behind_convolutions_are_kept_apart_and_no_others() -> None:
    def block(x: Any) -> Any:
        y = tf.nn.bias_add(tf.nn.conv2d(x, tensor(1, 1, 3, 3), 1, "SAME"), tensor(3)) + x
        features = tf.reduce_mean(y, [1, 2])
        return features + tf.sin(features)

    graph = keep_sums_apart(simplified(block))
    assert ops(graph)["EnsureShape"] == 2
    assert_equal(graph, block)


def test_sums_that_broadcast_are_kept_apart_by_the_ranks_of_their_summands() -> None:
    def gated(x: Any) -> Any:
        y = tf.nn.conv2d(x, tensor(1, 1, 3, 3), 1, "SAME")
        halves = tf.split(y, [1, 2], axis=-1)
        return tf.reduce_mean(y + tf.reduce_mean(y, [0, 1, 2]) + halves[1][..., :1], [1, 2]) + tf.reduce_mean(
            halves[0] + halves[1], [1, 2]
        ) @ tensor(2, 3)

    graph = keep_sums_apart(simplified(gated))
    assert ops(graph)["EnsureShape"] == 5  # of six summands, one is a vector
    assert_equal(graph, gated)


def test_sums_of_unknown_shape_are_refused() -> None:
    def resized(x: Any) -> Any:
        size = tf.cast(tf.reduce_max(x), tf.int32)[None] + [4, 4]
        y = tf.image.resize(x, size)
        return tf.reduce_mean(y + tf.sin(y), [1, 2])

    with pytest.raises(NotApplicableError, match=r"the shape of .*, which .* adds, is not known"):
        keep_sums_apart(frozen(resized))
