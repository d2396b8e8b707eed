#!/usr/bin/env python3
"""Makes the models of this directory, and what onnxruntime says of them.

    python -m venv venv && venv/bin/pip install numpy onnx onnxruntime && venv/bin/python make.py

Each case is a directory with model.onnx, x.npy (frames) and y.npy (the outputs of onnxruntime, without its graph
optimisations, which would compute other sums). cases.json lists them as that of ../onnx does. Where the kind is "exact",
scales are powers of two: float32 sums are exact and ties are ties.
"""
import json
import pathlib
import shutil
import tempfile

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

HERE = pathlib.Path(__file__).parent
CASES = []


class Net:
    def __init__(self, seed, inputs, opset=13):
        self.rng = np.random.default_rng(seed)
        self.inputs, self.opset, self.scale = inputs, opset, None
        self.nodes, self.constants, self.at = [], [], "x"

    def const(self, value, kind=np.float32):
        name = f"c{len(self.constants)}"
        if isinstance(kind, int):
            value = np.asarray(value)
            self.constants.append(helper.make_tensor(name, kind, value.shape, value.ravel().tolist()))
        else:
            self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def add(self, op, *inputs, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=f"{op}_{len(self.nodes)}", **attributes))
        return name

    def clip(self, x, clip, kind):
        return self.add("Clip", x, self.const(clip[0], kind), self.const(clip[1], kind)) if clip else x

    def act(self, scale, kind, clip=None, zero=0):
        """QuantizeLinear, Clip and DequantizeLinear, as Brevitas writes them."""
        s, z = self.const(scale), self.const(zero, kind)
        x = self.clip(self.add("QuantizeLinear", self.at, s, z), clip, kind)
        self.at, self.scale = self.add("DequantizeLinear", x, s, z), scale
        return self

    def dense(self, outputs, low, high, scale, kind=np.int8, clip=None, zero=0, bias=True):
        """Gemm of integer weights and a bias of 32 bits; `scale` is one, or one for each output."""
        w = self.const(self.rng.integers(low, high + 1, (outputs, self.inputs)), kind)
        scale = np.asarray(scale, dtype=np.float32)
        zeros = self.const(np.full(scale.shape, zero), kind)
        w = self.add("DequantizeLinear", self.clip(w, clip, kind), self.const(scale), zeros, axis=0)
        inputs = [self.at, w]
        if bias:
            b = self.const(self.rng.integers(-20, 21, outputs), np.int32)
            inputs.append(self.add("DequantizeLinear", b, self.const(scale * np.float32(self.scale)), axis=0))
        self.at, self.inputs = self.add("Gemm", *inputs, transB=1), outputs
        return self

    def run(self, op):
        self.at = self.add(op, self.at)
        return self

    def model(self, inputs):
        graph = helper.make_graph(
            self.nodes, "case", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, inputs])],
            [helper.make_tensor_value_info(self.at, TensorProto.FLOAT, [1, self.inputs])], self.constants)
        ir = 8 if self.opset < 19 else 10
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=ir)


def case(name, model, frames, kind="exact"):
    onnx.checker.check_model(model)
    where = HERE / name
    where.mkdir()
    onnx.save(model, where / "model.onnx")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    frames = np.asarray(frames, dtype=np.float32)
    out = np.stack([session.run(None, {"x": f[None]})[0].reshape(-1) for f in frames])
    np.save(where / "x.npy", frames)
    np.save(where / "y.npy", out)
    CASES.append({"name": name, "kind": kind})
    print(name, out[:2].tolist(), (where / "model.onnx").stat().st_size)


def halves(seed, count, n, low=-40, high=80):
    """Multiples of an eighth: half of them ties of a quantiser of a quarter."""
    return np.random.default_rng(seed).integers(low, high, (count, n)) * 0.125


def generated():
    scales = 2.0 ** np.random.default_rng(1).integers(-5, -2, 10)
    net = Net(2, 9).act(0.25, np.uint8).dense(10, -3, 3, scales, clip=(-1, 1)).run("Relu").act(0.25, np.uint8, (0, 15))
    net.dense(8, -9, 9, 0.25, clip=(-8, 7)).act(1.0, np.int8, (-2, 1)).dense(4, -127, 127, 2.0**-7)
    case("brevitas_form", net.model(9), halves(3, 40, 9))

    net = Net(4, 8).act(0.25, np.uint8, zero=37).dense(9, -128, 127, 2.0**-8, zero=0).act(0.25, np.uint8, zero=101)
    net.dense(7, 0, 255, 2.0**-8, np.uint8, zero=128).act(0.5, np.int8, zero=-3).dense(4, -8, 7, 0.125, bias=False)
    case("zero_points", net.act(0.25, np.uint8, zero=9).model(8), halves(5, 40, 8))

    scales = 2.0 ** np.random.default_rng(6).integers(-5, -2, 9)
    net = Net(7, 8, opset=21).act(0.25, TensorProto.INT16).dense(9, -8, 7, scales, TensorProto.INT4)
    net.run("Relu").act(0.5, TensorProto.UINT4).dense(5, 0, 15, 0.125, TensorProto.UINT4, zero=8)
    net.act(0.5, TensorProto.INT4, zero=2).dense(3, -8, 7, 0.25, TensorProto.INT4)
    case("four_bits", net.model(8), halves(8, 40, 8))


class Frames(CalibrationDataReader):
    def __init__(self, frames):
        self.frames = iter(frames)

    def get_next(self):
        frame = next(self.frames, None)
        return None if frame is None else {"x": frame[None]}


def quantised(name, activation, **options):
    """A float network, quantised by onnxruntime itself."""
    rng = np.random.default_rng(10)
    nodes, constants, at, widths = [], [], "x", [12, 16, 10, 4]
    for i, (a, b) in enumerate(zip(widths, widths[1:])):
        constants.append(numpy_helper.from_array(rng.normal(0, a**-0.5, (a, b)).astype(np.float32), f"w{i}"))
        constants.append(numpy_helper.from_array(rng.normal(0, 0.2, b).astype(np.float32), f"b{i}"))
        if i == 1:
            nodes.append(helper.make_node("MatMul", [at, f"w{i}"], [f"m{i}"], name=f"MatMul_{i}"))
            nodes.append(helper.make_node("Add", [f"m{i}", f"b{i}"], [f"y{i}"], name=f"Add_{i}"))
        else:
            nodes.append(helper.make_node("Gemm", [at, f"w{i}", f"b{i}"], [f"y{i}"], name=f"Gemm_{i}"))
        at = f"y{i}"
        if i < 2:
            nodes.append(helper.make_node("Relu", [at], [f"r{i}"], name=f"Relu_{i}"))
            at = f"r{i}"
    graph = helper.make_graph(
        nodes, "float", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, widths[0]])],
        [helper.make_tensor_value_info(at, TensorProto.FLOAT, [1, widths[-1]])], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    frames = rng.uniform(-1, 2, (60, widths[0])).astype(np.float32)
    with tempfile.TemporaryDirectory() as place:
        before, after = f"{place}/float.onnx", f"{place}/int8.onnx"
        onnx.save(model, before)
        quantize_static(before, after, Frames(frames), quant_format=QuantFormat.QDQ, activation_type=activation,
                        weight_type=QuantType.QInt8, **options)
        model = onnx.load(after)
    case(name, model, frames[:40], kind="float")


if __name__ == "__main__":
    for old in HERE.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    generated()
    quantised("ort_uint8", QuantType.QUInt8)
    quantised("ort_int8_per_channel", QuantType.QInt8, per_channel=True, extra_options={"ActivationSymmetric": True})
    (HERE / "cases.json").write_text(json.dumps(CASES, indent=1) + "\n")
