"""QKeras networks through qonnx's converter; expected outputs are Keras'.

qonnx writes scales, zero points and bit widths as float64 constants or integers, and the graph takes frames as Keras does,
channels last; neither is changed here. It drops quantisers in front of the first layer, so that inputs are of fixed point by
the configuration, and it has no translation of signed activations.
"""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf
import tf2onnx
from qkeras import QActivation, QConv1D, QConv2D, QDense, quantized_bits, quantized_relu, ternary
from qonnx.converters import from_keras
from tensorflow.keras import layers as k

from make import Made, fixed_point, network

QKERAS = "QKeras 0.9.0, qonnx 0.4.0"


def frames(seed, *shape, scale=1.0, count=5):
    return np.random.default_rng(seed).normal(0, scale, (count, *shape)).astype(np.float32)


def bits(n, i=0, **more):
    return quantized_bits(n, i, alpha=1, **more)


def made(shape, layers, x, *, seed=1, fixed=(7, 4), opset=13):
    """`layers` is a function of the input tensor."""
    tf.keras.backend.clear_session()
    tf2onnx.utils.INTERNAL_NAME = 1  # names count from here
    tf.keras.utils.set_random_seed(seed)
    x = fixed_point(x, *fixed)
    put = tf.keras.Input(shape, name="x")
    net = tf.keras.Model(put, layers(put))
    rng = np.random.default_rng(seed + 50)
    for layer in net.layers:
        if isinstance(layer, k.BatchNormalization):
            g, b, m, v = layer.get_weights()
            g = rng.uniform(0.4, 1.5, g.shape) * np.where(np.arange(len(g)) % 4 == 1, -1, 1)
            layer.set_weights([g, rng.normal(0, 0.3, g.shape), rng.normal(0, 0.3, g.shape), rng.uniform(0.3, 1.2, g.shape)])
        elif layer.get_weights():
            layer.set_weights([rng.normal(0, 0.45, w.shape) for w in layer.get_weights()])
    want = np.concatenate([net(x[i : i + 1], training=False).numpy() for i in range(len(x))])
    model, _ = from_keras(net, "qkeras", opset=opset)
    return Made(model, {model.graph.input[0].name: x}, {model.graph.output[0].name: want}, "Keras", fixed)


def dense(n, b=4, **more):
    return QDense(n, kernel_quantizer=bits(b), bias_quantizer=bits(8, 2), **more)


@network("qk_mlp_biases", QKERAS, "MLP, 4-bit weights, relu of 4 bits, quantised biases")
def _():
    def net(x):
        x = dense(12)(x)
        x = dense(10)(QActivation(quantized_relu(4, 2))(x))
        return dense(4, name="out")(QActivation(quantized_relu(4, 2))(x))
    return made((16,), net, frames(400, 16))


@network("qk_mlp_softmax_fixed", QKERAS, "MLP of 3 bits, batch normalisation, Softmax")
def _():
    def net(x):
        x = k.BatchNormalization()(QDense(12, kernel_quantizer=bits(3), use_bias=False)(x))
        x = QActivation(quantized_relu(3, 1))(x)
        return k.Softmax()(dense(4)(x))
    return made((16,), net, frames(401, 16), fixed=(9, 6))


@network("qk_cnn", QKERAS, "CNN in NHWC, same and valid padding, MaxPooling2D, Flatten of NHWC, dense tail")
def _():
    def net(x):
        x = QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), bias_quantizer=bits(6, 1))(x)
        x = k.MaxPooling2D(2)(QActivation(quantized_relu(3, 1))(x))
        x = QConv2D(6, 3, kernel_quantizer=bits(4), use_bias=False)(x)
        x = QActivation(quantized_relu(4, 2))(k.BatchNormalization()(x))
        return dense(3)(k.Flatten()(x))
    return made((8, 8, 2), net, frames(402, 8, 8, 2))


@network("qk_cnn_strided_same", QKERAS, "strides 2 with same padding (asymmetric) on odd and even maps, AveragePooling2D")
def _():
    def net(x):
        x = QConv2D(4, 3, strides=2, padding="same", kernel_quantizer=bits(4), use_bias=False)(x)
        x = QActivation(quantized_relu(3, 1))(x)
        x = QConv2D(4, 2, strides=2, padding="same", kernel_quantizer=bits(4), use_bias=False)(x)
        x = QActivation(quantized_relu(4, 1))(k.AveragePooling2D(2, 1)(QActivation(quantized_relu(4, 2))(x)))
        return dense(3)(k.Flatten()(x))
    return made((10, 9, 2), net, frames(403, 10, 9, 2))


@network("qk_residual", QKERAS, "residual: Add of a raw sum and the quantised shortcut, MaxPooling2D behind")
def _():
    def net(x):
        x = QActivation(quantized_relu(4, 2))(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        y = k.BatchNormalization()(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        x = QActivation(quantized_relu(4, 2))(k.Add()([y, x]))
        return dense(3)(k.Flatten()(k.MaxPooling2D(2)(x)))
    return made((6, 6, 2), net, frames(404, 6, 6, 2))


@network("qk_residual_quantised", QKERAS, "residual: both branches quantised to other scales")
def _():
    def net(x):
        x = QActivation(quantized_relu(4, 2))(QConv2D(4, 2, kernel_quantizer=bits(4), use_bias=False)(x))
        y = QActivation(quantized_relu(5, 2))(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        x = QActivation(quantized_relu(5, 2))(k.Add()([y, x]))
        return dense(3)(k.GlobalAveragePooling2D()(x))
    return made((6, 6, 2), net, frames(405, 6, 6, 2))


@network("qk_concat", QKERAS, "concatenation of two branches of other scales, 1x1 and 3x3, a fork behind a relu")
def _():
    def net(x):
        x = QActivation(quantized_relu(4, 2))(QConv2D(3, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        a = QActivation(quantized_relu(4, 2))(QConv2D(4, 1, kernel_quantizer=bits(4), use_bias=False)(x))
        b = QActivation(quantized_relu(3, 2))(QConv2D(2, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        x = QConv2D(3, 3, kernel_quantizer=bits(4), use_bias=False)(k.Concatenate()([a, b]))
        return k.Flatten()(x)
    return made((5, 5, 3), net, frames(406, 5, 5, 3))


@network("qk_ternary", QKERAS, "ternary weights of alpha 1 and threshold 0.5, a layer with relu of 2 bits as its activation")
def _():
    def net(x):
        t = lambda: ternary(alpha=1, threshold=0.5)
        x = QDense(12, kernel_quantizer=t(), use_bias=False)(x)
        x = QActivation(quantized_relu(2, 1))(k.BatchNormalization()(x))
        x = QActivation(quantized_relu(2, 2))(QDense(10, kernel_quantizer=t(), use_bias=False)(x))
        return QDense(4, kernel_quantizer=t(), use_bias=False)(x)
    return made((16,), net, frames(407, 16))


@network("qk_conv1d", QKERAS, "QConv1D, MaxPooling1D, channels last")
def _():
    def net(x):
        x = QActivation(quantized_relu(4, 2))(QConv1D(4, 5, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        x = QActivation(quantized_relu(4, 2))(QConv1D(4, 3, strides=2, kernel_quantizer=bits(4), use_bias=False)(k.MaxPooling1D(2)(x)))
        return dense(3)(k.Flatten()(x))
    return made((16, 2), net, frames(408, 16, 2))


@network("qk_upsample", QKERAS, "UpSampling2D between convolutions, weights of 4 and 6 bits")
def _():
    def net(x):
        x = QActivation(quantized_relu(4, 2))(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        return QConv2D(2, 3, padding="same", kernel_quantizer=bits(6, 1), use_bias=False)(k.UpSampling2D(2)(x))
    return made((4, 4, 2), net, frames(409, 4, 4, 2))


@network("qk_leaky", QKERAS, "LeakyReLU behind the last dense layer")
def _():
    def net(x):
        x = QActivation(quantized_relu(5, 2))(dense(12)(x))
        return k.LeakyReLU(alpha=0.25)(dense(4)(x))
    return made((16,), net, frames(410, 16))
