"""Graphs written by hand in forms that exporters and users of QONNX write; expected outputs are onnxruntime's or qonnx's."""
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from make import Made, by_onnxruntime, by_qonnx, network

HAND = "by hand"
Q = "qonnx.custom_op.general"


class Net:
    """A graph in the making: `at` is the running tensor."""

    def __init__(self, seed, *shape, opset=13, kind=TensorProto.FLOAT, name="x"):
        self.rng = np.random.default_rng(seed)
        self.opset, self.nodes, self.constants, self.at = opset, [], [], name
        self.inputs = [helper.make_tensor_value_info(name, kind, list(shape))]

    def also(self, name, *shape):
        self.inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))
        return name

    def const(self, value, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def add(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"t{len(self.nodes)}" + (f"_{i}" if i else "") for i in range(outputs)]
        inputs = [i if isinstance(i, str) else self.const(i) for i in inputs]
        self.nodes.append(helper.make_node(op, inputs, names, name=f"{op}_{len(self.nodes)}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def run(self, op, *inputs, **attributes):
        self.at = self.add(op, self.at, *inputs, **attributes)
        return self

    def ints(self, *values):
        return self.const(values, np.int64)

    def quantised(self, x, scale, bits, signed=1, narrow=0, kind=np.float32, mode="ROUND"):
        return self.add("Quant", x, self.const(scale, kind), self.const(0, kind), self.const(bits, kind), domain=Q, signed=signed, narrow=narrow, rounding_mode=mode)

    def quant(self, scale, bits, **more):
        self.at = self.quantised(self.at, scale, bits, **more)
        return self

    def weights(self, shape, scale, bits, **more):
        w = self.rng.normal(0, scale * 2 ** (bits - 2), shape).astype(more.get("kind", np.float32))
        return self.quantised(self.const(w, w.dtype), scale, bits, narrow=1, **more)

    def conv(self, i, o, k, scale=0.25, bits=3, x=None, group=1, **more):
        k = k if isinstance(k, tuple) else (k, k)
        y = self.add("Conv", x or self.at, self.weights((o, i // group, *k), scale, bits), kernel_shape=list(k), group=group, **more)
        if x is None:
            self.at = y
            return self
        return y

    def dense(self, i, o, scale=0.25, bits=3, **more):
        return self.run("MatMul", self.weights((i, o), scale, bits, **more))

    def qdq(self, scale, zero=0, kind=np.uint8):
        s, z = self.const(scale), self.const(zero, kind)
        return self.run("QuantizeLinear", s, z).run("DequantizeLinear", s, z)

    def model(self, *outputs, ir=8):
        graph = helper.make_graph(self.nodes, "form", self.inputs, [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs or [self.at]], self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        if any(n.domain == Q for n in self.nodes):
            opsets.append(helper.make_opsetid(Q, 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir if self.opset < 19 else 10 if self.opset < 23 else 11)


def done(net, x, *outputs, ort=False):
    model = net.model(*outputs)
    x = x if isinstance(x, dict) else {net.inputs[0].name: x}
    return Made(model, x, by_onnxruntime(model, x), "onnxruntime, no optimisation") if ort else Made(model, x, by_qonnx(model, x), "qonnx execute_onnx")


def frames(seed, *shape, scale=1.0, count=5):
    return np.random.default_rng(seed).normal(0, scale, (count, *shape)).astype(np.float32)


def pixels(seed, *shape, count=5):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


# ---- inputs

@network("form_uint8_nhwc", HAND, "uint8 pixels in NHWC: Cast, Transpose, normalised by Sub and Mul for each channel, quantised")
def _():
    n = Net(300, 1, 6, 6, 3, kind=TensorProto.UINT8)
    n.run("Cast", to=TensorProto.FLOAT).run("Transpose", perm=[0, 3, 1, 2]).run("Sub", np.array([120.0, 115.0, 100.0]).reshape(1, 3, 1, 1))
    n.run("Mul", np.array([1 / 64, 1 / 32, 1 / 64]).reshape(1, 3, 1, 1)).quant(0.0625, 8).conv(3, 4, 3).run("Relu").quant(0.5, 4, signed=0).run("Flatten").dense(64, 3)
    return done(n, pixels(301, 6, 6, 3))


@network("form_uint8_dequantize", HAND, "uint8 input straight into DequantizeLinear, zero point 121, opset 13")
def _():
    n = Net(302, 1, 12, kind=TensorProto.UINT8)
    n.run("DequantizeLinear", n.const(0.0625), n.const(121, np.uint8))
    w = n.add("DequantizeLinear", n.const(n.rng.integers(-127, 128, (12, 8)), np.int8), n.const(2.0**-7), n.const(0, np.int8))
    n.run("MatMul", w).run("Relu").qdq(0.125, 3)
    w = n.add("DequantizeLinear", n.const(n.rng.integers(-127, 128, (8, 3)), np.int8), n.const(2.0**-6), n.const(0, np.int8))
    return done(n.run("MatMul", w), pixels(303, 12), ort=True)


@network("form_two_inputs_product", HAND, "two inputs with own quantisers, multiplied element by element, quantised")
def _():
    n = Net(304, 1, 10)
    z = n.quantised(n.also("z", 1, 10), 0.25, 3, signed=0)
    n.quant(0.5, 3)
    n.at = n.add("Mul", n.at, z)
    return done(n.quant(0.25, 4).dense(10, 4), {"x": frames(305, 10), "z": np.abs(frames(306, 10))})


@network("form_batch_of_4", HAND, "a batch of 4 fixed in the graph, Reshape to [4, -1]")
def _():
    n = Net(307, 4, 2, 5, 5)
    n.quant(0.25, 4).conv(2, 4, 3).quant(0.5, 3).run("Reshape", n.ints(4, -1)).dense(36, 3)
    x = frames(308, 4, 2, 5, 5)
    model = n.model()
    runs = np.stack([list(by_qonnx_once(model, f).values())[0] for f in x])
    return Made(model, {"x": x}, {n.at: runs}, "qonnx execute_onnx")


def by_qonnx_once(model, frame):
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    return execute_onnx(ModelWrapper(model).transform(InferShapes()), {"x": frame})


# ---- types

@network("form_float64", HAND, "float64 scales, zero points and bit widths of Quant")
def _():
    n = Net(310, 1, 12, opset=14).quant(0.25, 4)
    n.dense(12, 8).run("Mul", n.rng.normal(0, 1, 8)).run("Add", n.rng.normal(0, 1, 8)).quant(0.5, 3).dense(8, 3)
    made = done(n, frames(311, 12))
    constants = {i for node in made.model.graph.node if node.op_type == "Quant" for i in node.input[1:]}
    for c in made.model.graph.initializer:
        if c.name in constants:
            c.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(c).astype(np.float64), c.name))
    made.source = "qonnx execute_onnx, constants in float32"
    return made


@network("form_float16", HAND, "a whole graph of float16 behind a Cast, Clip and Round as quantiser")
def _():
    n = Net(312, 1, 12)
    half = lambda v: n.const(v, np.float16)
    n.quant(0.25, 4).run("Cast", to=TensorProto.FLOAT16).run("MatMul", half(n.rng.integers(-3, 4, (12, 8)) * 0.5)).run("Add", half(n.rng.integers(-4, 5, 8) * 0.25))
    n.run("Relu").run("Cast", to=TensorProto.FLOAT).quant(0.5, 4, signed=0).dense(8, 3)
    return done(n, frames(313, 12))


@network("form_matmul_integer", HAND, "QuantizeLinear, MatMulInteger with zero points, Cast, Mul")
def _():
    n = Net(314, 1, 12)
    n.run("QuantizeLinear", n.const(0.0625), n.const(128, np.uint8)).run("MatMulInteger", n.const(n.rng.integers(-20, 21, (12, 8)), np.int8), n.const(128, np.uint8), n.const(0, np.int8))
    n.run("Cast", to=TensorProto.FLOAT).run("Mul", 2.0**-7).run("Relu").run("QuantizeLinear", n.const(0.125), n.const(0, np.uint8))
    n.run("MatMulInteger", n.const(n.rng.integers(-20, 21, (8, 3)), np.int8), n.const(0, np.uint8)).run("Cast", to=TensorProto.FLOAT).run("Mul", 2.0**-6)
    return done(n, frames(315, 12), ort=True)


@network("form_qlinear_conv_10", HAND, "opset 10: QLinearConv with zero points of weights for each channel, QLinearMatMul, uint8 output dequantised")
def _():
    n = Net(316, 1, 2, 6, 6, opset=10)
    u = lambda v: n.const(v, np.uint8)
    n.run("QuantizeLinear", n.const(0.0625), u(120))
    w, s, b = n.rng.integers(90, 170, (4, 2, 3, 3)), 2.0 ** n.rng.integers(-7, -4, 4), n.rng.integers(-200, 200, 4)
    n.run("QLinearConv", n.const(0.0625), u(120), u(w), n.const(s), u([128, 130, 126, 128]), n.const(0.125), u(10), n.const(b, np.int32), pads=[0, 1, 1, 0], strides=[2, 1])
    n.run("Reshape", n.ints(1, -1))
    n.run("QLinearMatMul", n.const(0.125), u(10), u(n.rng.integers(90, 170, (60, 3))), n.const(0.03), u(125), n.const(0.5), u(100)).run("DequantizeLinear", n.const(0.5), u(100))
    return done(n, frames(317, 2, 6, 6), ort=True)


@network("form_weight_zero_point_far", HAND, "QDQ weights uint8 with zero points 3, 250 and between, for each channel of a convolution")
def _():
    n = Net(318, 1, 2, 5, 5).qdq(0.0625, 128)
    w = n.add("DequantizeLinear", n.const(n.rng.integers(0, 256, (4, 2, 3, 3)), np.uint8), n.const(2.0 ** np.array([-7, -8, -7, -6])), n.const([3, 250, 128, 60], np.uint8), axis=0)
    n.run("Conv", w, kernel_shape=[3, 3], pads=[1, 1, 1, 1]).qdq(0.25, 110).run("Flatten")
    w = n.add("DequantizeLinear", n.const(n.rng.integers(0, 256, (100, 3)), np.uint8), n.const(2.0**-8), n.const(200, np.uint8))
    return done(n.run("MatMul", w), frames(319, 2, 5, 5), ort=True)


# ---- padding and pooling

@network("form_pad_fork", HAND, "one Pad behind a quantiser, read by a 3x3 of stride 2 and a 1x1 shortcut of stride 3")
def _():
    n = Net(320, 1, 1, 5, 5).quant(0.25, 4).conv(1, 2, 3, pads=[1, 1, 1, 1]).run("Relu").quant(0.5, 3, signed=0)
    p = n.add("Pad", n.at, n.ints(0, 0, 1, 1, 0, 0, 1, 1))
    a = n.quantised(n.conv(2, 4, 3, x=p, strides=[2, 2]), 0.5, 4)
    b = n.quantised(n.conv(2, 4, 1, x=p, strides=[3, 3]), 0.5, 4)
    n.at = n.add("Add", a, b)
    return done(n.run("Relu").quant(0.5, 3, signed=0).run("Flatten").dense(36, 3), frames(321, 1, 5, 5))


@network("form_pad_channels", HAND, "shortcut of MaxPool 1x1 stride 2 and 1 zero channel in front and 2 behind")
def _():
    n = Net(410, 1, 2, 6, 6).quant(0.25, 4).conv(2, 3, 3, pads=[1, 1, 1, 1]).run("Relu").quant(0.5, 3, signed=0)
    s = n.add("Pad", n.add("MaxPool", n.at, kernel_shape=[1, 1], strides=[2, 2]), n.ints(0, 1, 0, 0, 0, 2, 0, 0))
    n.at = n.add("Add", n.quantised(n.conv(3, 6, 3, x=n.at, strides=[2, 2], pads=[1, 1, 1, 1]), 0.5, 4), s)
    return done(n.run("Relu").quant(0.5, 3, signed=0).run("GlobalAveragePool").run("Flatten").dense(6, 3), frames(411, 2, 6, 6))


@network("form_pad_concat", HAND, "Pad of a concatenation of two branches, opset 18 with axes")
def _():
    n = Net(412, 1, 2, 5, 5, opset=18).quant(0.25, 4)
    a, b = [n.quantised(n.conv(2, 3, k, x=n.at, pads=[k // 2] * 4), 0.5, 3) for k in (3, 1)]
    n.at = n.add("Pad", n.add("Concat", a, b, axis=1), n.ints(0, 1, 1, 0), "", n.ints(2, 3))
    return done(n.conv(6, 2, 3, strides=[2, 2]), frames(413, 2, 5, 5))


@network("form_pad_residual", HAND, "residual: a 3x3 without padding, its output padded by 1 in front of the Add")
def _():
    n = Net(414, 1, 2, 5, 5).quant(0.25, 4).conv(2, 3, 1).quant(0.5, 4)
    b = n.add("Pad", n.quantised(n.conv(3, 3, 3, x=n.at), 0.5, 4), n.ints(0, 0, 1, 1, 0, 0, 1, 1))
    n.at = n.add("Add", n.at, b)
    return done(n.quant(0.5, 4).conv(3, 2, 3), frames(415, 2, 5, 5))


@network("form_pad_twice", HAND, "two Pads one behind the other, the second around a quantiser, opset 11")
def _():
    n = Net(322, 1, 2, 5, 5, opset=11).quant(0.25, 4)
    n.run("Pad", n.ints(0, 0, 1, 0, 0, 0, 0, 1)).run("Pad", n.ints(0, 0, 0, 1, 0, 0, 1, 0)).conv(2, 4, 3).run("Pad", n.ints(0, 0, 1, 1, 0, 0, 1, 1)).quant(0.5, 3)
    return done(n.conv(4, 2, 3, strides=[2, 2]), frames(323, 2, 5, 5))


@network("form_pad_affine", HAND, "Pad of a quantised map, then Mul and Add for each channel, then the convolution: padding isn't 0")
def _():
    n = Net(324, 1, 2, 5, 5)
    n.quant(0.25, 4).run("Pad", n.ints(0, 0, 1, 1, 0, 0, 1, 1)).run("Mul", np.array([2.0, -0.5]).reshape(1, 2, 1, 1)).run("Add", np.array([0.5, 1.0]).reshape(1, 2, 1, 1))
    return done(n.conv(2, 4, 3).quant(0.5, 4).run("Flatten").dense(100, 3), frames(325, 2, 5, 5))


@network("form_pad_value_edge", HAND, "Pad with the constant 1.5 in front of a quantiser; mode edge behind")
def _():
    n = Net(326, 1, 2, 4, 4, opset=18)
    n.run("Pad", n.ints(1, 0, 0, 2), 1.5, n.ints(2, 3)).quant(0.5, 3).conv(2, 4, 3).quant(0.5, 3).run("Pad", n.ints(0, 0, 0, 1, 0, 0, 1, 0), mode="edge")
    return done(n.conv(4, 2, 2), frames(327, 2, 4, 4))


@network("form_same_upper", HAND, "auto_pad SAME_UPPER and SAME_LOWER with strides, MaxPool and AveragePool as well")
def _():
    n = Net(328, 1, 2, 7, 7).quant(0.25, 4).conv(2, 4, 3, strides=[2, 2], auto_pad="SAME_UPPER").run("Relu").quant(0.5, 3, signed=0)
    n.run("MaxPool", kernel_shape=[2, 2], auto_pad="SAME_LOWER").conv(4, 4, 2, auto_pad="SAME_LOWER").quant(0.5, 4).run("AveragePool", kernel_shape=[3, 3], strides=[1, 1], auto_pad="SAME_UPPER", count_include_pad=1)
    return done(n.quant(0.25, 4).conv(4, 2, 1), frames(329, 2, 7, 7))


@network("form_pools", HAND, "MaxPool with dilation and ceil_mode, GlobalMaxPool beside GlobalAveragePool, concatenated")
def _():
    n = Net(330, 1, 2, 9, 9).quant(0.25, 4).conv(2, 4, 3).run("Relu").quant(0.5, 3, signed=0).run("MaxPool", kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2], ceil_mode=1)
    a, b = n.add("GlobalMaxPool", n.at), n.quantised(n.add("GlobalAveragePool", n.at), 0.25, 4, signed=0)
    n.at = n.add("Concat", a, b, axis=1)
    return done(n.run("Flatten").dense(8, 3), frames(331, 2, 9, 9))


@network("form_pad_nothing", HAND, "Pad of nothing around an average, a quantiser and the Flatten")
def _():
    n = Net(332, 1, 2, 6, 6)
    none = n.ints(*[0] * 8)
    n.quant(0.25, 4).run("Pad", none).conv(2, 4, 3).run("Relu").quant(0.5, 3, signed=0).run("Pad", none).run("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).run("Pad", none).quant(0.25, 4)
    return done(n.run("Pad", none).run("Flatten").dense(16, 3), frames(333, 2, 6, 6))


@network("form_pad_avgpool_quant", HAND, "convolution, Pad, AveragePool and only then the quantiser")
def _():
    n = Net(334, 1, 2, 5, 5).quant(0.25, 4).conv(2, 4, 3, pads=[1, 1, 1, 1])
    n.run("Pad", n.ints(0, 0, 1, 0, 0, 0, 0, 1)).run("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).quant(0.25, 4)
    return done(n.conv(4, 2, 2), frames(335, 2, 5, 5))


@network("form_pad_shift", HAND, "Pad of 1 on one side and -1 on the other, in front of a quantiser and behind")
def _():
    n = Net(336, 1, 2, 5, 5)
    n.run("Pad", n.ints(0, 0, 1, -1, 0, 0, -1, 1)).quant(0.25, 4).conv(2, 4, 3, pads=[1, 1, 1, 1]).quant(0.5, 3).run("Pad", n.ints(0, 0, 0, 2, 0, 0, 0, -2))
    return done(n.conv(4, 2, 3), frames(337, 2, 5, 5))


@network("form_pad_large", HAND, "padding as large as the kernel in the convolution, MaxPool with padding of signed values")
def _():
    n = Net(338, 1, 2, 4, 4).quant(0.25, 4).conv(2, 4, 3, pads=[3, 0, 4, 1]).quant(0.5, 4).run("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    return done(n.conv(4, 2, 2), frames(339, 2, 4, 4))


@network("form_pad_upsample", HAND, "Pad, Resize by 2, convolution, with 1 channel and 3 behind")
def _():
    n = Net(390, 1, 1, 3, 3).quant(0.25, 4)
    n.run("Pad", n.ints(0, 0, 1, 1, 0, 0, 1, 1)).run("Resize", "", [1.0, 1.0, 2.0, 2.0], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor").conv(1, 3, 3, strides=[2, 2])
    n.quant(0.5, 3).run("Pad", n.ints(0, 0, 0, 1, 0, 0, 0, 1)).run("Resize", "", [1.0, 1.0, 2.0, 2.0], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return done(n.conv(3, 2, 3, strides=[2, 2]), frames(391, 1, 3, 3))


@network("form_resize_fraction", HAND, "Resize nearest by 1.5 and down to a size, opset 18")
def _():
    n = Net(392, 1, 2, 4, 4, opset=18).quant(0.25, 4).run("Resize", "", [1.0, 1.0, 1.5, 1.5], mode="nearest").conv(2, 3, 3).quant(0.5, 4)
    return done(n.run("Resize", "", "", n.ints(1, 3, 2, 2), mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor").conv(3, 2, 2), frames(393, 2, 4, 4))


# ---- branches

@network("form_sum_mean_of_four", HAND, "Sum of three branches, Mean of that and a fourth, scales 1/4, 1/2 and 1")
def _():
    n = Net(340, 1, 2, 4, 4).quant(0.25, 4)
    a, b, c, d = [n.quantised(n.conv(2, 3, k, x=n.at, pads=[k // 2] * 4), s, 4) for k, s in ((3, 0.25), (1, 0.5), (3, 1.0), (1, 0.25))]
    n.at = n.add("Mean", n.add("Sum", a, b, c), d)
    return done(n.quant(0.5, 4).conv(3, 2, 2), frames(341, 2, 4, 4))


@network("form_cat_scales_related", HAND, "Concat of scales 1/2, 1/4 and 1/8, signed and unsigned; Split behind")
def _():
    n = Net(342, 1, 10).quant(0.25, 4)
    x = n.at
    parts = [n.quantised(n.add("MatMul", x, n.weights((10, 4), 0.25, 3)), s, b, signed=g) for s, b, g in ((0.5, 3, 1), (0.25, 4, 0), (0.125, 5, 1))]
    n.at = n.add("Concat", *parts, axis=-1)
    a, b = n.add("Split", n.at, n.ints(5, 7), outputs=2, axis=1)
    a, b = n.add("MatMul", a, n.weights((5, 4), 0.25, 3)), n.add("MatMul", b, n.weights((7, 4), 0.25, 3))
    n.at = n.add("Concat", n.quantised(a, 0.5, 4), n.quantised(b, 0.5, 4), axis=1)
    return done(n.dense(8, 3), frames(343, 10))


@network("form_cat_spatial", HAND, "Concat along the height, then along the width, of two branches")
def _():
    n = Net(344, 1, 2, 4, 4).quant(0.25, 4)
    a, b = n.quantised(n.conv(2, 3, 1, x=n.at), 0.5, 3), n.quantised(n.conv(2, 3, 3, x=n.at, pads=[1, 1, 1, 1]), 0.5, 3)
    h = n.add("Concat", a, b, axis=2)
    n.at = n.add("Concat", h, h, axis=3)
    return done(n.conv(3, 2, 3, strides=[2, 2]), frames(345, 2, 4, 4))


@network("form_res_ratio_5", HAND, "residual sum of scales 0.3 and 0.06, and a difference of two branches")
def _():
    n = Net(346, 1, 10).quant(0.25, 4)
    a, b = n.quantised(n.add("MatMul", n.at, n.weights((10, 6), 0.25, 3)), 0.3, 4), n.quantised(n.add("MatMul", n.at, n.weights((10, 6), 0.25, 3)), 0.06, 5)
    n.at = n.add("Sub", n.quantised(n.add("Add", a, b), 0.37, 4), n.quantised(n.add("Mul", a, 0.5), 0.37, 4))
    return done(n.quant(0.41, 4).dense(6, 3), frames(347, 10))


@network("form_gate_binary", HAND, "product of two binary streams (a gate), and of a binary with a 3-bit one")
def _():
    n = Net(348, 1, 2, 4, 4).quant(0.25, 4)
    x = n.at
    bipolar = lambda v: n.add("BipolarQuant", v, 1.0, domain=Q)
    a, b = [bipolar(n.conv(2, 4, 3, x=x, pads=[1, 1, 1, 1])) for _ in range(2)]
    c = n.quantised(n.conv(2, 4, 1, x=x), 0.5, 3)
    n.at = n.add("Add", n.add("Mul", a, b), n.add("Mul", a, c))
    return done(n.quant(0.5, 4).conv(4, 2, 2), frames(349, 2, 4, 4))


@network("form_broadcast_rows", HAND, "Add of a map and of its own mean over the width, quantised: [1, C, H, 1] to [1, C, H, W]")
def _():
    n = Net(350, 1, 2, 4, 4, opset=18).quant(0.25, 4).conv(2, 3, 3, pads=[1, 1, 1, 1]).quant(0.5, 4)
    m = n.quantised(n.add("ReduceMean", n.at, n.ints(3), keepdims=1), 0.5, 4)
    n.at = n.add("Add", n.at, m)
    return done(n.quant(0.5, 4).conv(3, 2, 2), frames(351, 2, 4, 4))


@network("form_inner_output", HAND, "a quantised inner map and its maximum as outputs beside the scores")
def _():
    n = Net(352, 1, 2, 5, 5).quant(0.25, 4).conv(2, 3, 3).run("Relu").quant(0.5, 3, signed=0)
    inner = n.at
    pooled = n.add("MaxPool", inner, kernel_shape=[2, 2])
    n.run("Flatten").dense(27, 3)
    return done(n, frames(353, 2, 5, 5), n.at, inner, pooled)


@network("form_raw_sum_resize", HAND, "quantised shortcut plus a sum that isn't quantised, quantiser, Resize by 2")
def _():
    n = Net(394, 1, 3, 3, 3).quant(0.25, 4)
    n.at = n.add("Add", n.at, n.conv(3, 3, 3, x=n.at, pads=[1, 1, 1, 1]))
    n.quant(0.5, 4).run("Resize", "", [1.0, 1.0, 2.0, 2.0], mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    return done(n.conv(3, 2, 3, strides=[2, 2]), frames(395, 3, 3, 3))


@network("form_cat_mixed_pool", HAND, "Concat of a quantised branch and of sums that aren't, quantiser, AveragePool")
def _():
    n = Net(396, 1, 2, 4, 4).quant(0.25, 4)
    a, b = n.quantised(n.conv(2, 2, 1, x=n.at), 0.5, 3), n.conv(2, 3, 3, x=n.at, pads=[1, 1, 1, 1])
    n.at = n.add("Concat", a, b, axis=1)
    n.quant(0.5, 4).run("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).quant(0.25, 4)
    return done(n.conv(5, 2, 2), frames(397, 2, 4, 4))


@network("form_res_float_branch", HAND, "residual: a float branch of Mul, Add and Relu of the quantised map, no quantiser of its own")
def _():
    n = Net(398, 1, 3, 4, 4).quant(0.25, 4)
    b = n.add("Relu", n.add("Add", n.add("Mul", n.at, np.array([0.7, -0.4, 1.1]).reshape(1, 3, 1, 1)), np.array([0.1, 0.2, -0.3]).reshape(1, 3, 1, 1)))
    n.at = n.add("Add", n.quantised(n.conv(3, 3, 3, x=n.at, pads=[1, 1, 1, 1]), 0.5, 4), b)
    return done(n.quant(0.4, 4).conv(3, 2, 2), frames(399, 3, 4, 4))


# ---- shapes and dense forms

@network("form_gemm_transposed", HAND, "Gemm with transA of a column, alpha, beta, C of one row; then MatMul with the weights on the left")
def _():
    n = Net(360, 1, 10).quant(0.25, 4).run("Transpose", perm=[1, 0])
    n.at = n.add("Gemm", n.at, n.weights((10, 6), 0.25, 3), n.rng.normal(0, 1, (1, 6)), transA=1, alpha=0.5, beta=2.0)
    n.quant(0.5, 4).run("Transpose", perm=[1, 0])
    n.at = n.add("MatMul", n.weights((3, 6), 0.25, 3), n.at)
    return done(n.run("Transpose", perm=[1, 0]), frames(361, 10))


@network("form_depth_space", HAND, "SpaceToDepth of the input, DepthToSpace DCR behind a convolution")
def _():
    n = Net(362, 1, 2, 6, 6).quant(0.25, 4).run("SpaceToDepth", blocksize=2).conv(8, 8, 3, pads=[1, 1, 1, 1]).run("Relu").quant(0.5, 3, signed=0).run("DepthToSpace", blocksize=2, mode="DCR")
    return done(n.conv(2, 2, 3), frames(363, 2, 6, 6))


@network("form_slice_split_9", HAND, "opset 9: Slice and Split by attributes, Upsample, Pad and Clip by attributes")
def _():
    n = Net(364, 1, 4, 5, 5, opset=9)
    clip = lambda v: n.add("Clip", v, min=-1.0, max=1.0)
    n.at = n.quantised(clip(n.at), 0.25, 4)
    a, b = n.add("Split", n.at, outputs=2, axis=1, split=[1, 3])
    a, b = n.quantised(clip(n.conv(1, 3, 3, x=a)), 0.25, 4), n.quantised(clip(n.conv(3, 3, 3, x=b)), 0.25, 4)
    n.at = n.add("Add", a, b)
    n.run("Slice", starts=[0, 1], ends=[2, 3], axes=[2, 3]).run("Upsample", [1.0, 1.0, 2.0, 2.0], mode="nearest").run("Pad", pads=[0, 0, 0, 1, 0, 0, 1, 0])
    return done(n.conv(3, 2, 2), frames(365, 4, 5, 5))


@network("form_gather_channels", HAND, "Gather of channels in another order between layers, then Squeeze and Unsqueeze")
def _():
    n = Net(366, 1, 2, 4, 4)
    n.quant(0.25, 4).conv(2, 4, 3).quant(0.5, 4).run("Gather", n.ints(2, 0, 3, 1), axis=1).conv(4, 4, 2).quant(0.5, 4).run("Squeeze", n.ints(2, 3)).run("Unsqueeze", n.ints(1)).run("Squeeze", n.ints(1))
    return done(n.dense(4, 3), frames(367, 2, 4, 4))


@network("form_opset23", HAND, "opset 23: QDQ convolution with int4 weights, a scale for each channel, ReduceMean, Flatten")
def _():
    n = Net(368, 1, 2, 6, 6, opset=23).qdq(0.0625, 100)
    w = n.rng.integers(-7, 8, (4, 2, 3, 3))
    n.constants.append(helper.make_tensor("w", TensorProto.INT4, w.shape, w.ravel().tolist()))
    w = n.add("DequantizeLinear", "w", n.const(2.0 ** np.array([-3, -4, -3, -2])), axis=0)
    n.run("Conv", w, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1]).run("Relu").qdq(0.0371, 0).run("ReduceMean", n.ints(2, 3), keepdims=0).qdq(0.02, 5)
    w = n.add("DequantizeLinear", n.const(n.rng.integers(-127, 128, (4, 3)), np.int8), n.const(2.0**-7))
    return done(n.run("MatMul", w), frames(369, 2, 6, 6), ort=True)


# ---- activations and tails

@network("form_thresholded_shrink", HAND, "ThresholdedRelu, HardSigmoid with own slopes and Softsign in front of quantisers")
def _():
    n = Net(370, 1, 12).quant(0.25, 4)
    n.dense(12, 10).run("ThresholdedRelu", alpha=0.75).quant(0.25, 4, signed=0).dense(10, 10).run("HardSigmoid", alpha=0.25, beta=0.4).quant(0.125, 3, signed=0)
    return done(n.dense(10, 8).run("Softsign").quant(0.125, 4).dense(8, 3), frames(371, 12))


@network("form_modes", HAND, "Floor and Ceil by hand: Mul, Floor, Clip, Mul; Quant with mode CEIL and FLOOR; Round and Min, Max")
def _():
    n = Net(372, 1, 12).quant(0.25, 4, mode="FLOOR")
    n.dense(12, 10).run("Mul", 2.0).run("Floor").run("Clip", -4.0, 3.0).run("Mul", 0.5).dense(10, 10).run("Div", 0.5).run("Ceil").run("Max", 0.0).run("Min", 7.0).run("Mul", 0.5)
    return done(n.dense(10, 8).quant(0.5, 3, mode="CEIL").dense(8, 3), frames(373, 12))


@network("form_tail_reduce", HAND, "ReduceMax and ReduceMin of the scores, their difference as output; opset 20")
def _():
    n = Net(374, 1, 12, opset=20).quant(0.25, 4).dense(12, 8).quant(0.5, 4).dense(8, 5)
    n.at = n.add("Sub", n.add("ReduceMax", n.at, n.ints(1), keepdims=1), n.add("ReduceMin", n.at, n.ints(1), keepdims=1))
    return done(n, frames(375, 12))


@network("form_tail_mixed", HAND, "Exp, Log, Sqrt, Reciprocal and Softplus on the scores behind the last layer")
def _():
    n = Net(376, 1, 12, opset=17).quant(0.25, 4).dense(12, 8).quant(0.5, 4).dense(8, 4)
    return done(n.run("Mul", 0.125).run("Softplus").run("Sqrt").run("Exp").run("Reciprocal").run("Log").run("Pow", 2.0), frames(377, 12))


@network("form_scalar_per_channel_acts", HAND, "Quant of activations with a scale for each channel, in front of a depthwise convolution")
def _():
    n = Net(378, 1, 2, 5, 5).quant(0.25, 4).conv(2, 3, 3)
    n.quant(np.array([0.5, 0.17, 0.25]).reshape(1, 3, 1, 1), 4).conv(3, 3, 3, group=3).quant(0.5, 4).run("Flatten")
    return done(n.dense(3, 3), frames(379, 2, 5, 5))


@network("form_multithreshold_signed", HAND, "MultiThreshold with out_scale and out_bias, rows for each channel, NHWC data layout")
def _():
    n = Net(380, 1, 4, 4, 2).quant(0.25, 4)
    n.run("MultiThreshold", np.sort(n.rng.normal(0, 0.7, (2, 7)), 1), domain=Q, out_scale=0.5, out_bias=-2.0, out_dtype="INT3", data_layout="NHWC").run("Transpose", perm=[0, 3, 1, 2])
    n.conv(2, 3, 3).run("MultiThreshold", np.sort(n.rng.normal(0, 2, (3, 3)), 1), domain=Q, out_dtype="UINT2").run("Flatten")
    return done(n.dense(12, 3), frames(381, 4, 4, 2))


@network("form_average_border", HAND, "AveragePool that leaves padding out: SAME_UPPER with stride 1, pads on one side, ceil_mode")
def _():
    n = Net(390, 1, 2, 7, 8).quant(0.25, 4).conv(2, 4, 3).run("Relu").quant(0.5, 3, signed=0)
    n.run("AveragePool", kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_UPPER").quant(0.25, 4, signed=0).conv(4, 4, 1).run("Relu").quant(0.5, 4, signed=0)
    n.run("AveragePool", kernel_shape=[3, 3], strides=[2, 1], pads=[1, 0, 0, 1]).quant(0.125, 5, signed=0).conv(4, 4, 1).quant(0.5, 4)
    return done(n.run("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1).quant(0.25, 4).conv(4, 2, 1), frames(391, 2, 7, 8))


@network("form_average_first", HAND, "AveragePool of the quantised input in front of the first convolution")
def _():
    n = Net(392, 1, 2, 8, 8).quant(0.25, 4).run("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    return done(n.conv(2, 4, 3).run("Relu").quant(0.5, 3, signed=0).conv(4, 2, 1), frames(393, 2, 8, 8))


@network("form_average_sums", HAND, "convolution and batch normalisation, AveragePool that leaves padding out, quantiser; ReLU of few sums, average")
def _():
    n = Net(394, 1, 2, 6, 6).quant(0.25, 4).conv(2, 4, 3)
    n.run("Mul", n.const(np.array([0.5, -1, 2, 0.25]).reshape(1, 4, 1, 1))).run("Add", n.const(np.array([1, 0.5, -2, 0]).reshape(1, 4, 1, 1)))
    n.run("AveragePool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1]).quant(0.5, 2, signed=0)
    return done(n.conv(4, 4, 1, bits=2).run("Relu").run("AveragePool", kernel_shape=[2, 2], strides=[2, 2]).quant(0.125, 4, signed=0).conv(4, 2, 1), frames(395, 2, 6, 6))


@network("form_pad_modes", HAND, "Pad reflect, edge and wrap between layers, behind a quantiser and in front of one")
def _():
    n = Net(396, 1, 2, 5, 6).quant(0.25, 4).conv(2, 4, 1).run("Relu").quant(0.5, 3, signed=0)
    n.run("Pad", n.ints(0, 0, 1, 2, 0, 0, 2, 1), mode="reflect").conv(4, 4, 3).run("Pad", n.ints(0, 0, 1, 1, 0, 0, 1, 1), mode="edge").quant(1.0, 4)
    return done(n.conv(4, 2, 3), frames(397, 2, 5, 6))


@network("form_resize_linear", HAND, "Resize linear by 2 and 4: half_pixel, asymmetric; by 1.5 behind the last layer, aligned corners")
def _():
    n = Net(398, 1, 2, 3, 4).quant(0.25, 4).conv(2, 4, 1).run("Relu").quant(0.5, 3, signed=0)
    half, other = n.const([1, 1, 2, 2]), n.const([1, 1, 1, 4])
    n.run("Resize", "", half, mode="linear", coordinate_transformation_mode="half_pixel").quant(0.125, 5, signed=0).conv(4, 2, 1).quant(0.5, 4)
    n.run("Resize", "", other, mode="linear", coordinate_transformation_mode="asymmetric").quant(0.25, 4).conv(2, 2, 1)
    return done(n.run("Resize", "", n.const([1, 1, 1.5, 1.5]), mode="linear", coordinate_transformation_mode="align_corners"), frames(399, 2, 3, 4))
