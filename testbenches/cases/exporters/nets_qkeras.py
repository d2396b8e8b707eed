"""QKeras networks through qonnx's converter; expected outputs are Keras'.

qonnx writes scales, zero points and bit widths as float64 constants or integers, and the graph takes frames as Keras does,
channels last; neither is changed here.
"""
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import tensorflow as tf
from qkeras import (QActivation, QConv1D, QConv2D, QDense, QDepthwiseConv2D, binary, quantized_bits, quantized_relu,
                    ternary)
from qonnx.converters import from_keras
from tensorflow.keras import layers as k

from make import Made, fixed_point, network

QKERAS = "QKeras 0.9.0, qonnx 0.4.0"


def frames(seed, *shape, scale=1.0, count=5):
    return np.random.default_rng(seed).normal(0, scale, (count, *shape)).astype(np.float32)


def bits(n, i=0, **more):
    return quantized_bits(n, i, alpha=1, **more)


def made(shape, layers, x, *, seed=1, fixed=None, opset=13):
    """`layers` is a function of the input tensor."""
    tf.keras.utils.set_random_seed(seed)
    x = fixed_point(x, *fixed) if fixed else x
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


@network("qk_mlp_act_in", QKERAS, "MLP, QActivation of the input, 4-bit weights, relu of 4 bits, quantised biases")
def _():
    def net(x):
        x = dense(12)(QActivation(quantized_bits(6, 2, alpha=1))(x))
        x = dense(10)(QActivation(quantized_relu(4, 2))(x))
        return dense(4, name="out")(QActivation(quantized_relu(4, 2))(x))
    return made((16,), net, frames(400, 16))


@network("qk_mlp_softmax_fixed", QKERAS, "MLP without quantiser of the input (configuration), 3 bits, batch normalisation, Softmax")
def _():
    def net(x):
        x = k.BatchNormalization()(QDense(12, kernel_quantizer=bits(3), use_bias=False)(x))
        x = QActivation(quantized_relu(3, 1))(x)
        return k.Softmax()(dense(4)(x))
    return made((16,), net, frames(401, 16), fixed=(9, 6))


@network("qk_cnn", QKERAS, "CNN in NHWC, same and valid padding, MaxPooling2D, Flatten of NHWC, dense tail")
def _():
    def net(x):
        x = QActivation(quantized_bits(6, 2, alpha=1))(x)
        x = QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), bias_quantizer=bits(6, 1))(x)
        x = k.MaxPooling2D(2)(QActivation(quantized_relu(3, 1))(x))
        x = QConv2D(6, 3, kernel_quantizer=bits(4), use_bias=False)(x)
        x = QActivation(quantized_relu(4, 2))(k.BatchNormalization()(x))
        return dense(3)(k.Flatten()(x))
    return made((8, 8, 2), net, frames(402, 8, 8, 2))


@network("qk_cnn_strided_same", QKERAS, "strides 2 with same padding (asymmetric) on odd and even maps, AveragePooling2D")
def _():
    def net(x):
        x = QActivation(quantized_bits(6, 2, alpha=1))(x)
        x = QConv2D(4, 3, strides=2, padding="same", kernel_quantizer=bits(4), use_bias=False)(x)
        x = QActivation(quantized_relu(3, 1))(x)
        x = QConv2D(4, 2, strides=2, padding="same", kernel_quantizer=bits(4), use_bias=False)(x)
        x = QActivation(quantized_bits(4, 1, alpha=1))(k.AveragePooling2D(2, 1)(QActivation(quantized_relu(4, 2))(x)))
        return dense(3)(k.Flatten()(x))
    return made((10, 9, 2), net, frames(403, 10, 9, 2))


@network("qk_residual", QKERAS, "residual: Add of a raw sum and the quantised shortcut, MaxPooling2D behind")
def _():
    def net(x):
        x = QActivation(quantized_bits(6, 2, alpha=1))(x)
        x = QActivation(quantized_relu(4, 2))(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        y = k.BatchNormalization()(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        x = QActivation(quantized_relu(4, 2))(k.Add()([y, x]))
        return dense(3)(k.Flatten()(k.MaxPooling2D(2)(x)))
    return made((6, 6, 2), net, frames(404, 6, 6, 2))


@network("qk_residual_quantised", QKERAS, "residual: both branches quantised to other scales, ZeroPadding2D in front")
def _():
    def net(x):
        x = k.ZeroPadding2D(((1, 0), (0, 1)))(QActivation(quantized_bits(6, 2, alpha=1))(x))
        x = QActivation(quantized_relu(4, 2))(QConv2D(4, 2, kernel_quantizer=bits(4), use_bias=False)(x))
        y = QActivation(quantized_bits(5, 2, alpha=1))(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        x = QActivation(quantized_relu(5, 2))(k.Add()([y, x]))
        return dense(3)(k.GlobalAveragePooling2D()(x))
    return made((6, 6, 2), net, frames(405, 6, 6, 2))


@network("qk_depthwise", QKERAS, "depthwise and pointwise convolutions, concatenation of two branches")
def _():
    def net(x):
        x = QActivation(quantized_bits(6, 2, alpha=1))(x)
        x = QActivation(quantized_relu(4, 2))(QDepthwiseConv2D(3, padding="same", depthwise_quantizer=bits(4), use_bias=False)(x))
        a = QActivation(quantized_relu(4, 2))(QConv2D(4, 1, kernel_quantizer=bits(4), use_bias=False)(x))
        x = QConv2D(3, 3, kernel_quantizer=bits(4), use_bias=False)(k.Concatenate()([a, x]))
        return k.Flatten()(x)
    return made((5, 5, 3), net, frames(406, 5, 5, 3))


@network("qk_binary_ternary", QKERAS, "binary and ternary weights of alpha 1, binary activations")
def _():
    def net(x):
        x = QActivation(quantized_bits(4, 1, alpha=1))(x)
        x = k.BatchNormalization()(QDense(12, kernel_quantizer=binary(alpha=1), use_bias=False)(x))
        x = k.BatchNormalization()(QDense(10, kernel_quantizer=ternary(alpha=1, threshold=0.4), use_bias=False)(QActivation(binary(alpha=1))(x)))
        return QDense(4, kernel_quantizer=binary(alpha=1), use_bias=False)(QActivation(binary(alpha=1))(x))
    return made((16,), net, frames(407, 16))


@network("qk_conv1d", QKERAS, "QConv1D, MaxPooling1D, channels last")
def _():
    def net(x):
        x = QActivation(quantized_bits(6, 2, alpha=1))(x)
        x = QActivation(quantized_relu(4, 2))(QConv1D(4, 5, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        x = QActivation(quantized_relu(4, 2))(QConv1D(4, 3, strides=2, kernel_quantizer=bits(4), use_bias=False)(k.MaxPooling1D(2)(x)))
        return dense(3)(k.Flatten()(x))
    return made((16, 2), net, frames(408, 16, 2))


@network("qk_upsample", QKERAS, "UpSampling2D between convolutions, weights of 4 and 6 bits")
def _():
    def net(x):
        x = QActivation(quantized_bits(6, 2, alpha=1))(x)
        x = QActivation(quantized_relu(4, 2))(QConv2D(4, 3, padding="same", kernel_quantizer=bits(4), use_bias=False)(x))
        return QConv2D(2, 3, padding="same", kernel_quantizer=bits(6, 1), use_bias=False)(k.UpSampling2D(2)(x))
    return made((4, 4, 2), net, frames(409, 4, 4, 2))


@network("qk_leaky", QKERAS, "LeakyReLU in front of quantized_bits")
def _():
    def net(x):
        x = dense(12)(QActivation(quantized_bits(6, 2, alpha=1))(x))
        return dense(4)(QActivation(quantized_bits(4, 1, alpha=1))(k.LeakyReLU(alpha=0.25)(x)))
    return made((16,), net, frames(410, 16))

