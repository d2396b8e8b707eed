"""Larq and Keras networks through tf2onnx; expected outputs are Keras'."""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import larq as lq
import numpy as np
import tensorflow as tf
import tf2onnx
from tensorflow.keras import layers as k

from make import Made, fixed_point, network

LARQ, KERAS = "Larq 0.13.3, tf2onnx 1.16.1", "Keras 2.15.0, tf2onnx 1.16.1"


def frames(seed, *shape, scale=1.0, count=5):
    return np.random.default_rng(seed).normal(0, scale, (count, *shape)).astype(np.float32)


def made(shape, layers, x, *, seed=1, fixed=None, opset=13, nchw=False, spread=4.0):
    tf.keras.backend.clear_session()
    tf2onnx.utils.INTERNAL_NAME = 1  # names count from here
    tf.keras.utils.set_random_seed(seed)
    x = fixed_point(x, *fixed) if fixed else x
    put = tf.keras.Input(shape, name="x", batch_size=1)
    net = tf.keras.Model(put, layers(put))
    rng = np.random.default_rng(seed + 50)
    for layer in net.layers:
        if isinstance(layer, k.BatchNormalization):
            shift, m, v = [rng.normal(0, 0.5, w.shape) for w in layer.get_weights()[-3:]]
            gamma = [rng.uniform(0.4, 1.5, m.shape) * np.where(np.arange(len(m)) % 4 == 1, -1, 1)] if layer.scale else []
            layer.set_weights(gamma + [shift, m * spread, (v**2 + 0.1) * spread**2])
        elif layer.get_weights():
            layer.set_weights([rng.normal(0, 0.5, w.shape) for w in layer.get_weights()])
    want = np.concatenate([net(x[i : i + 1], training=False).numpy() for i in range(len(x))])
    more = {"inputs_as_nchw": ["x"]} if nchw else {}
    model, _ = tf2onnx.convert.from_keras(net, opset=opset, **more)
    x = np.ascontiguousarray(np.moveaxis(x, -1, 1)) if nchw else x
    return Made(model, {"x": x}, {model.graph.output[0].name: want}, "Keras", fixed)


B = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip", "use_bias": False}
BB = {"input_quantizer": "ste_sign", **B}


def norm(scale=False):
    return k.BatchNormalization(momentum=0.9, scale=scale)


@network("lq_mlp_sign", LARQ, "QuantDense with ste_sign of weights and activations")
def _():
    def net(x):
        x = norm()(lq.layers.QuantDense(16, **BB)(x))
        x = norm(True)(lq.layers.QuantDense(12, **BB)(x))
        return lq.layers.QuantDense(4, **BB)(x)
    return made((20,), net, frames(420, 20))


@network("lq_cnn_onepad", LARQ, "QuantConv2D with pad_values 1, MaxPool2D, batch normalisation, NHWC")
def _():
    def net(x):
        x = norm()(lq.layers.QuantConv2D(4, 3, padding="same", pad_values=1.0, **BB)(x))
        x = norm(True)(k.MaxPool2D(2)(lq.layers.QuantConv2D(6, 3, padding="same", pad_values=1.0, **BB)(x)))
        return lq.layers.QuantDense(3, **BB)(k.Flatten()(x))
    return made((6, 6, 2), net, frames(421, 6, 6, 2))


@network("lq_cnn_zeropad_strided", LARQ, "QuantConv2D with zero padding and strides 2, global average, Softmax; input of the graph in NCHW")
def _():
    def net(x):
        x = norm()(lq.layers.QuantConv2D(4, 3, strides=2, padding="same", **BB)(x))
        x = norm(True)(lq.layers.QuantConv2D(6, 3, padding="same", **BB)(x))
        x = k.GlobalAveragePooling2D()(lq.quantizers.SteSign()(x))
        return k.Softmax()(x)
    return made((8, 7, 2), net, frames(422, 8, 7, 2), nchw=True)


@network("lq_dorefa", LARQ, "DoReFaQuantizer of 2 bits in front of dense layers with signs as weights")
def _():
    def net(x):
        d = {"input_quantizer": lq.quantizers.DoReFa(k_bit=2, mode="activations"), **B}
        x = norm(True)(lq.layers.QuantDense(12, **d)(x))
        x = norm(True)(lq.layers.QuantDense(12, **d)(x))
        return lq.layers.QuantDense(4, **d)(x)
    return made((16,), net, frames(423, 16, scale=0.6))


@network("lq_dorefa_weights", LARQ, "DoReFaQuantizer of weights of 3 bits, convolution")
def _():
    def net(x):
        d = {"input_quantizer": lq.quantizers.DoReFa(k_bit=2, mode="activations"), "kernel_quantizer": lq.quantizers.DoReFa(k_bit=3, mode="weights"), "use_bias": False}
        x = norm(True)(lq.layers.QuantConv2D(4, 3, **d)(x))
        return lq.layers.QuantDense(3, **d)(k.Flatten()(x))
    return made((5, 5, 2), net, frames(424, 5, 5, 2, scale=0.8), spread=0.7)


@network("lq_ternary", LARQ, "SteTern: weights and activations of -1, 0 and 1")
def _():
    def net(x):
        d = {"input_quantizer": lq.quantizers.SteTern(threshold_value=0.3), "kernel_quantizer": lq.quantizers.SteTern(threshold_value=0.4), "use_bias": False}
        x = norm(True)(lq.layers.QuantDense(12, **d)(x))
        return lq.layers.QuantDense(4, **d)(x)
    return made((16,), net, frames(425, 16))


@network("lq_magnitude_sign", LARQ, "MagnitudeAwareSign weights (a mean magnitude for each filter), Swish-sign activations, opset 15")
def _():
    def net(x):
        d = {"input_quantizer": "swish_sign", "kernel_quantizer": "magnitude_aware_sign", "use_bias": False}
        x = norm(True)(lq.layers.QuantConv2D(4, 3, padding="same", **d)(x))
        return k.Flatten()(lq.layers.QuantConv2D(2, 3, **d)(x))
    return made((5, 5, 2), net, frames(426, 5, 5, 2), opset=15)


@network("lq_heaviside_depthwise", LARQ, "SteHeaviside activations (0 and 1), QuantDepthwiseConv2D and QuantSeparableConv2D")
def _():
    def net(x):
        x = norm(True)(lq.layers.QuantDepthwiseConv2D(3, input_quantizer="ste_heaviside", depthwise_quantizer="ste_sign", use_bias=False)(x))
        x = norm(True)(lq.layers.QuantConv2D(4, 1, input_quantizer="ste_heaviside", **B)(x))
        return k.Flatten()(lq.layers.QuantConv2D(2, 2, input_quantizer="ste_heaviside", **B)(x))
    return made((6, 6, 3), net, frames(427, 6, 6, 3))


@network("lq_birealnet", LARQ, "Bi-Real block: batch-normalised sums plus the real shortcut, AvgPool shortcut with 1x1 convolution, one padding")
def _():
    def net(x):
        x = norm()(lq.layers.QuantConv2D(4, 3, padding="same", pad_values=1.0, **BB)(x))
        x = k.Add()([norm()(lq.layers.QuantConv2D(4, 3, padding="same", pad_values=1.0, **BB)(x)), x])
        s = norm()(lq.layers.QuantConv2D(6, 1, **BB)(k.AveragePooling2D(2)(x)))
        x = k.Add()([norm()(lq.layers.QuantConv2D(6, 3, strides=2, padding="same", pad_values=1.0, **BB)(x)), s])
        return lq.layers.QuantDense(3, **BB)(k.Flatten()(x))
    return made((6, 6, 2), net, frames(428, 6, 6, 2))


@network("lq_conv1d_causal", LARQ, "QuantConv1D with causal padding and dilation 2, one padding of a second one")
def _():
    def net(x):
        x = norm()(lq.layers.QuantConv1D(4, 3, padding="causal", dilation_rate=2, **BB)(x))
        return lq.layers.QuantConv1D(2, 3, padding="same", pad_values=1.0, **BB)(x)
    return made((12, 2), net, frames(429, 12, 2))


@network("lq_zeropad_fork", LARQ, "ZeroPadding2D in front of a block: padded map read by a strided 3x3 and by the pooled shortcut")
def _():
    def net(x):
        x = norm()(lq.layers.QuantConv2D(4, 3, padding="same", **BB)(x))
        x = k.ZeroPadding2D(((1, 0), (1, 0)))(lq.quantizers.SteSign()(x))
        a = norm()(lq.layers.QuantConv2D(4, 3, strides=2, **B)(x))
        b = k.MaxPool2D(2, 2)(k.Cropping2D(((1, 0), (1, 0)))(x))
        x = k.Concatenate()([lq.quantizers.SteSign()(a), b])
        return lq.layers.QuantDense(3, **B)(k.Flatten()(x))
    return made((6, 6, 2), net, frames(431, 6, 6, 2))


@network("keras_fake_quant", KERAS, "tf.quantization.fake_quant_with_min_max_args of weights and activations, NHWC")
def _():
    class Fake(k.Layer):
        def __init__(self, low, high, bits):
            super().__init__()
            self.of = low, high, bits
        def call(self, x):
            return tf.quantization.fake_quant_with_min_max_args(x, min=self.of[0], max=self.of[1], num_bits=self.of[2])
    def net(x):
        x = lq.layers.QuantConv2D(4, 3, kernel_quantizer="ste_sign", use_bias=False)(Fake(-4.0, 3.96875, 8)(x))
        x = Fake(0.0, 7.96875, 8)(k.ReLU()(norm(True)(x)))
        return k.Flatten()(lq.layers.QuantConv2D(2, 3, kernel_quantizer="ste_sign", use_bias=False)(x))
    return made((6, 6, 2), net, frames(430, 6, 6, 2))
