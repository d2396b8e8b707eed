#!/usr/bin/env python3
"""Makes random convolutional networks, and what onnxruntime says of them.

    python -m venv venv && venv/bin/pip install numpy onnx onnxruntime && venv/bin/python make.py

Each case is a directory with model.onnx, x.npy (frames) and y.npy (the outputs of onnxruntime, without its graph
optimisations, which would compute other sums); cases.json lists them as that of ../onnx does. Quantisers are ONNX's own,
scales powers of two: float32 sums are exact, and so is every comparison. `make.py FIRST LAST DIRECTORY` makes others.
"""
import json
import pathlib
import random
import shutil
import sys

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper


class Net:
    """A graph in the making: `at` is the tensor that is worked on, of shape [1, channels, height, width]."""

    def __init__(self, seed):
        self.choose, self.rng = random.Random(seed), np.random.default_rng(seed)
        self.nodes, self.constants, self.at = [], [], "x"
        size = [self.choose.choice([1, 2, 3]), self.choose.randint(6, 9), self.choose.randint(6, 9)]
        self.last = self.choose.random() < 0.25
        self.inputs = [1, *(size[1:] + size[:1] if self.last else size)]

    def const(self, value, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def add(self, op, *more, **attributes):
        name = f"t{len(self.nodes)}"
        inputs = [self.at, *more]
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}_{len(self.nodes)}", **attributes))
        self.at = name

    def model(self):
        ends = [(("x"), self.inputs), (self.at, None)]
        x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in ends)
        graph = helper.make_graph(self.nodes, "images", [x], [y], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)

    def run(self, frames):
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = ort.InferenceSession(self.model().SerializeToString(), options)
        return np.stack([session.run(None, {"x": frame[None]})[0][0] for frame in frames])

    def size(self):
        return self.run(np.zeros([1, *self.inputs[1:]], np.float32))[0].shape

    def quantise(self, scale, kind, clip=None):
        scale, zero = self.const(scale), self.const(0, kind)
        self.add("QuantizeLinear", scale, zero)
        if clip:
            self.add("Clip", *(self.const(v, kind) for v in clip))
        self.add("DequantizeLinear", scale, zero)

    def weights(self, values, scales):
        here, self.at = self.at, self.const(values, np.int8)
        zeros = self.const(np.zeros_like(scales), np.int8)
        self.add("DequantizeLinear", self.const(scales), zeros, **({"axis": 0} if np.ndim(scales) else {}))
        name, self.at = self.at, here
        return name

    def normalise(self):
        c = self.size()[0]
        gamma = self.rng.choice([0.25, -0.25, 0.5, -0.125, 1.0], c)
        beta, mean = self.rng.integers(-8, 8, c) / 4, self.rng.integers(-20, 20, c)
        self.add("BatchNormalization", *map(self.const, (gamma, beta, mean, np.ones(c))), epsilon=0.0)

    def maximum(self):
        _, h, w = self.size()
        more = {"ceil_mode": 1} if self.choose.random() < 0.3 else {}
        strides = [self.choose.choice([1, 2]), 2]
        self.add("MaxPool", kernel_shape=[min(2, h), min(2, w)], strides=strides, **more)

    def convolution(self):
        c, h, w = self.size()
        pick = self.choose.choice
        kernel, strides = [pick([1, 2, 3]), pick([1, 2, 3])], [pick([1, 1, 2]), pick([1, 1, 2])]
        dilations = [1, 1] if self.choose.random() < 0.8 else [pick([1, 2]), pick([1, 2])]
        groups = pick([1, 1, c, 2 if c % 2 == 0 else 1])
        outputs = pick([2, 4]) if groups == 1 else groups * pick([1, 2])
        extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
        if extent[0] > h or extent[1] > w:
            return
        how = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "group": groups}
        pads = [self.choose.randint(0, e - 1) for e in extent * 2]
        form = pick(["none", "pads", "same", "node"])
        if form == "same" and dilations == [1, 1]:
            how["auto_pad"] = pick(["SAME_UPPER", "SAME_LOWER"])
        elif form == "pads":
            how["pads"] = pads
        elif form == "node":
            around = [0, 0, *pads[:2], 0, 0, *pads[2:]]
            self.add("Pad", self.const(around, np.int64), self.const(0.0))
        low, high = pick([(-1, 1), (-3, 3), (-8, 7)])
        values = self.rng.integers(low, high + 1, size=(outputs, c // groups, *kernel))
        operands = [self.weights(values, 2.0 ** self.rng.integers(-2, 2, outputs))]
        if self.choose.random() < 0.4:
            operands.append(self.const(self.rng.integers(-9, 9, outputs)))
        self.add("Conv", *operands, **how)
        order = pick(["norm", "norm max", "max norm", "norm relu", ""])
        for step in order.split():
            {"norm": self.normalise, "max": self.maximum, "relu": lambda: self.add("Relu")}[step]()
        bits, signed = pick([1, 2, 4]), self.choose.random() < 0.3
        if signed:
            self.quantise(8.0, np.int8, (-(2**bits), 2**bits - 1))
        else:
            self.quantise(4.0, np.uint8, (0, 2**bits - 1))
        self.between(signed)

    def between(self, signed):
        chance, (_, h, w) = self.choose.random(), self.size()
        if chance < 0.15:
            scales = self.const([1, 1, 2, 2])
            how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            self.add("Resize", "", scales, mode="nearest", **how)
        elif chance < 0.3 and min(h, w) >= 2:
            self.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
            self.quantise(*((2.0, np.int8, (-8, 7)) if signed else (1.0, np.uint8, (0, 15))))
        elif chance < 0.45:
            self.maximum()
        elif chance < 0.5:
            self.add("Transpose", perm=[0, 1, 3, 2])

    def end(self):
        c, h, w = self.size()
        form = self.choose.choice(["flatten", "average", "reshape", "channels last", "image"])
        if form == "image":
            return
        if form == "average" and h * w in (2, 4, 8, 16):
            self.add("GlobalAveragePool")
            h = w = 1
        if form == "channels last":
            self.add("Transpose", perm=[0, 2, 3, 1])
        if form == "reshape":
            self.add("Reshape", self.const([1, -1], np.int64))
        else:
            self.add("Flatten", axis=1)
        self.add("MatMul", self.weights(self.rng.integers(-1, 2, (c * h * w, 3)), np.float32(1)))


def make(seed, directory):
    net = Net(seed)
    net.quantise(1.0, np.uint8)
    if net.last:
        net.add("Transpose", perm=[0, 3, 1, 2])
    for _ in range(net.choose.randint(1, 3)):
        net.convolution()
    net.end()
    if not any(node.op_type == "Conv" for node in net.nodes):
        return None
    frames = np.random.default_rng(seed + 1).integers(0, 256, [4, *net.inputs[1:]]).astype(np.float32)
    outputs = net.run(frames)
    directory.mkdir(parents=True)
    (directory / "model.onnx").write_bytes(net.model().SerializeToString())
    np.save(directory / "x.npy", frames)
    np.save(directory / "y.npy", outputs)
    return {"name": directory.name, "kind": "exact"}


def main():
    given = sys.argv[1:]
    first, last = map(int, given[:2]) if given else (0, 14)
    here = pathlib.Path(given[2]) if given else pathlib.Path(__file__).parent
    cases = []
    for seed in range(first, last):
        directory = here / f"seed_{seed}"
        shutil.rmtree(directory, ignore_errors=True)
        cases.append(make(seed, directory))
    (here / "cases.json").write_text(json.dumps([case for case in cases if case], indent=1) + "\n")


main()
