#!/usr/bin/env python3
"""Makes the models of this directory, and what an executor that shares no code with the importer says of them.

    python -m venv venv && venv/bin/pip install numpy onnx onnxruntime qonnx && venv/bin/python make.py

Each case is a directory with model.onnx, x.npy (frames) and y.npy (the outputs of qonnx, which runs ONNX's own operators
in onnxruntime). cases.json lists them: the kind ("exact", or "float" where a float tail is compared to 1e-5), and the
fixed-point type of a real input. Scales are powers of two, so that float32 sums are exact and ties are ties.
"""
import json
import pathlib
import shutil

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

HERE = pathlib.Path(__file__).parent
BREVITAS, FINN, QONNX = "onnx.brevitas", "finn.custom_op.general", "qonnx.custom_op.general"
MODES = ["ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "HALF_EVEN"]


class Net:
    def __init__(self, seed, inputs, shape=None):
        self.rng = np.random.default_rng(seed)
        self.shape = shape or [1, inputs]
        self.nodes, self.constants, self.at, self.annotations = [], [], "x", {}

    def const(self, value, kind=np.float32):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype=kind), name))
        return name

    def add(self, op, *inputs, domain="", outputs=1, **attributes):
        names = [f"t{len(self.nodes)}" + ("" if i == 0 else f"_{i}") for i in range(outputs)]
        node = helper.make_node(op, list(inputs), names, name=f"{op}_{len(self.nodes)}", domain=domain, **attributes)
        self.nodes.append(node)
        return names[0]

    def run(self, op, *constants, first=False, domain="", **attributes):
        """op of the running tensor and constants (before it, where first)."""
        names = [c if isinstance(c, str) else self.const(c) for c in constants]
        self.at = self.add(op, *(names + [self.at] if first else [self.at] + names), domain=domain, **attributes)
        return self

    def quantised(self, x, scale, bits, signed=1, narrow=0, mode="ROUND", zero=0.0, domain=QONNX, op="Quant"):
        return self.add(op, x, self.const(scale), self.const(zero), self.const(float(bits)), domain=domain,
                        signed=signed, narrow=narrow, rounding_mode=mode)

    def quant(self, scale, bits, **more):
        self.at = self.quantised(self.at, scale, bits, **more)
        return self

    def bipolar(self, scale=1.0, domain=BREVITAS):
        return self.run("BipolarQuant", scale, domain=domain)

    def dense(self, inputs, outputs, bits=2, scale=0.25, domain=QONNX, turned=False, narrow=1):
        """A MatMul with weights behind a quantiser."""
        shape = (outputs, inputs) if turned else (inputs, outputs)
        scales = np.asarray(scale, dtype=np.float32)
        latent = self.const(self.rng.normal(0, 1.0, shape) * scales.max() * 2 ** (bits - 1))
        if bits == 1:
            w = self.add("BipolarQuant", latent, self.const(scales), domain=domain)
        else:
            w = self.quantised(latent, scales, bits, narrow=narrow, domain=domain)
        if turned:
            w = self.add("Transpose", w, perm=[1, 0])
        self.at = self.add("MatMul", self.at, w)
        return self

    def norm(self, n, spread, zeros=0):
        gamma = self.rng.normal(0.6, 0.8, n)
        gamma[:zeros] = 0.0
        p = [gamma, self.rng.normal(0, 0.7, n), self.rng.normal(0, spread, n), self.rng.uniform(0.5, 2.0, n) * spread ** 2]
        return self.run("BatchNormalization", *p, epsilon=1e-5)

    def model(self, opset=13, custom=1):
        graph = helper.make_graph(
            self.nodes, "case", [helper.make_tensor_value_info("x", TensorProto.FLOAT, self.shape)],
            [helper.make_tensor_value_info(self.at, TensorProto.FLOAT, None)], self.constants)
        for name, kind in self.annotations.items():
            graph.quantization_annotation.append(onnx.TensorAnnotation(
                tensor_name=name,
                quant_parameter_tensor_names=[onnx.StringStringEntryProto(key="finn_datatype", value=kind)]))
        opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(d, custom) for d in (BREVITAS, FINN, QONNX)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


CASES = []


def case(name, net, frames, kind="exact", fixed=None, opset=13, custom=1):
    model = net.model(opset, custom)
    where = HERE / name
    where.mkdir()
    onnx.save(model, where / "model.onnx")
    frames = np.asarray(frames, dtype=np.float32)
    given = frames
    if fixed:
        bits, fraction = fixed
        steps = np.clip(np.round(frames * np.float32(2.0**fraction)), -(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)
        given = (steps * np.float32(2.0**-fraction)).astype(np.float32)
    runner = ModelWrapper(model).transform(InferShapes())
    out = [execute_onnx(runner, {"x": f.reshape(net.shape)})[net.at] for f in given]
    np.save(where / "x.npy", frames)
    np.save(where / "y.npy", np.stack([np.asarray(o, dtype=np.float32).reshape(-1) for o in out]))
    CASES.append({"name": name, "kind": kind, "bits": fixed and fixed[0], "fraction_bits": fixed and fixed[1]})
    print(name, np.stack([np.asarray(o).reshape(-1) for o in out])[:2].tolist())


def uniform(seed, count, n, low=-2.0, high=2.0):
    return np.random.default_rng(seed).uniform(low, high, (count, n))


def ties():
    """Sums of quarters that fall between two steps of a half as often as not, through every rounding mode."""
    frames = np.random.default_rng(5).integers(-8, 8, (40, 6)) * 0.25
    for mode in MODES:
        for signed, zero in [(1, 0.0), (0, 1.0)]:
            net = Net(1, 6).quant(0.25, 4).dense(6, 8, 3, 1.0)
            net.quant(0.5, 4, mode=mode.lower() if signed else mode, signed=signed, zero=zero)
            case(f"ties_{mode.lower()}_{'signed' if signed else 'unsigned'}", net.dense(8, 3, 2, 0.5), frames)


def networks():
    net = Net(2, 36, [1, 1, 6, 6])
    net.run("Mul", 2.0).run("Sub", 1.0)
    net.run("Reshape", net.const([1, 36], np.int64)).quant(0.5, 2, narrow=1, domain=BREVITAS)
    for a, b in [(36, 12), (12, 12)]:
        net.dense(a, b, 2, 0.5, BREVITAS, turned=True).norm(b, 1.0).quant(0.5, 2, narrow=1, domain=BREVITAS)
    net.dense(12, 10, 2, 0.5, BREVITAS, turned=True).run("Mul", 0.125).run("Add", 0.5)
    case("tfc_2w2a", net, uniform(3, 30, 36, 0, 1))

    net = Net(4, 40).bipolar(domain=QONNX)
    for a, b in [(40, 16), (16, 16), (16, 16)]:
        net.dense(a, b, 2, 1.0).norm(b, 3.0).run("Relu").quant(0.5, 2, signed=0)
    net.dense(16, 1, 2, 1.0).run("Add", 3.5).bipolar(domain=QONNX)
    case("unsw_2w2a", net, uniform(5, 60, 40))

    net = Net(6, 49).quant(0.125, 8)
    for a, b in [(49, 16), (16, 16), (16, 16)]:
        net.dense(a, b, 3, 0.25).norm(b, 2.0).run("Relu").quant(0.25, 3, signed=0)
    case("keyword_3w3a", net.dense(16, 12, 3, 0.25), uniform(7, 40, 49, -16, 16))

    net = Net(8, 16)
    for a, b in [(16, 64), (64, 32), (32, 32)]:
        net.dense(a, b, 6, 2.0**-5).run("Add", net.quantised(net.const(net.rng.normal(0, 0.5, b)), 2.0**-5, 6))
        net.run("Relu").quant(2.0**-4, 6, signed=0)
    net.dense(32, 5, 6, 2.0**-5).run("Add", net.rng.normal(0, 0.5, 5)).run("Softmax", axis=-1)
    case("jet_tagger", net, uniform(9, 40, 16, -5, 5), kind="float", fixed=(16, 10))

    # Scales as training leaves them: sums and logits differ by roundings.
    net = Net(46, 20).quant(0.1137, 8).dense(20, 16, 4, 0.0731).norm(16, 0.5).run("Relu").quant(0.2193, 4, signed=0)
    net.dense(16, 16, 4, net.rng.uniform(0.05, 0.1, (1, 16))).norm(16, 0.5).quant(0.1931, 3).dense(16, 6, 4, 0.0417)
    case("trained_scales", net.run("Add", net.rng.normal(0, 1, 6)), uniform(47, 60, 20, -9, 9), kind="float")

    net = Net(10, 12).run("Sign").run("MatMul", np.where(np.random.default_rng(1).random((12, 9)) < 0.5, -0.5, 0.5))
    net.run("Sign").run("MatMul", np.random.default_rng(2).choice([-1.5, 0.0, 1.5], (9, 4)))
    net.run("Sign").run("Gemm", np.random.default_rng(3).choice([-1.0, 1.0], (3, 4)), np.array([0.5, -1.0, 2.0]), transB=1)
    case("plain_sign", net, np.random.default_rng(11).integers(-1, 2, (40, 12)))


def forms():
    net = Net(12, 10).quant(0.5, 4).dense(10, 12, 2, 0.5).norm(12, 2.0, zeros=4).quant(0.25, 4)
    case("gammas_negative_and_zero", net.dense(12, 4, 2, 1.0), uniform(13, 40, 10, -4, 4))

    integers = lambda net, shape: net.rng.integers(-3, 4, shape)
    for a in (0, 1):
        for b in (0, 1):
            net = Net(14 + a + 2 * b, 6).quant(0.5, 3)
            if a:
                net.run("Transpose", perm=[1, 0])
            w = integers(net, (5, 6) if b else (6, 5))
            net.run("Gemm", w, integers(net, (5,)), transA=a, transB=b, alpha=0.5, beta=2.0).quant(0.5, 3)
            case(f"gemm_{a}{b}", net.dense(5, 3, 2, 0.5), uniform(15, 20, 6))
            net = Net(20 + a + 2 * b, 6).quant(0.5, 3)
            if not b:
                net.run("Transpose", perm=[1, 0])
            w, c = net.const(integers(net, (6, 5) if a else (5, 6))), net.const(integers(net, (5, 1)))
            net.at = net.add("Gemm", w, net.at, c, transA=a, transB=b)
            net.run("Transpose", perm=[1, 0]).quant(0.5, 3)
            case(f"gemm_left_{a}{b}", net.dense(5, 3, 2, 0.5), uniform(16, 20, 6))

    net = Net(24, 6).quant(0.5, 3)
    net.run("Unsqueeze", net.const([2], np.int64)).run("MatMul", integers(net, (5, 6)), first=True)
    net.run("Squeeze", net.const([2], np.int64)).run("Relu").quant(1.0, 3, signed=0)
    case("matmul_left", net.dense(5, 3), uniform(17, 20, 6))

    net = Net(26, 12).run("MultiThreshold", [[0.25]], domain=FINN, out_dtype="BINARY")
    for a, b in [(12, 8), (8, 8)]:
        net.run("XnorPopcountMatMul", net.rng.integers(0, 2, (a, b)), domain=FINN)
        net.run("MultiThreshold", net.rng.integers(a // 2 - 1, a // 2 + 2, (b, 1)), domain=FINN, out_dtype="BINARY")
    net.run("XnorPopcountMatMul", net.rng.integers(0, 2, (8, 3)), domain=FINN)
    case("xnor_popcount", net, uniform(18, 40, 12))

    net = Net(28, 8)
    net.run("MultiThreshold", np.sort(net.rng.normal(0, 1, (8, 7))), domain=QONNX, out_scale=0.5, out_bias=-2.0, out_dtype="INT3")
    net.dense(8, 9, 3, 0.5)
    net.run("MultiThreshold", np.sort(net.rng.normal(0, 6, (1, 15))), domain=QONNX, out_scale=0.25, out_bias=-1.75, out_dtype="INT4")
    net.dense(9, 6, 3, 0.5)
    net.run("MultiThreshold", net.rng.normal(0, 3, (6, 3)), domain=FINN, out_scale=2.0, out_bias=-3.0, out_dtype="INT3")
    case("multi_threshold", net.dense(6, 4, 2, 1.0), uniform(19, 40, 8))

    net = Net(30, 8).quant(0.25, 6).dense(8, 10, 4, 0.25).quant(0.25, 8)
    net.run("Trunc", 0.25, 0.0, 8.0, 4.0, domain=QONNX, rounding_mode="FLOOR")
    case("trunc_v1", net.dense(10, 3, 2, 1.0), uniform(20, 40, 8, -8, 8))
    for mode in ["FLOOR", "ROUND"]:
        net = Net(32, 8).quant(0.25, 6).dense(8, 10, 4, 0.25).quant(0.25, 8)
        net.run("Trunc", 0.25, 0.0, 8.0, 2.0, 4.0, domain=QONNX, rounding_mode=mode, signed=1, narrow=0)
        case(f"trunc_v2_{mode.lower()}", net.dense(10, 3, 2, 1.0), uniform(21, 40, 8, -8, 8), custom=2)

    scale = 2.0 ** np.random.default_rng(1).integers(-4, 1, (1, 9))
    net = Net(34, 7).quant(0.5, 5, op="IntQuant").dense(7, 9, 4, scale).run("Relu").quant(0.5, 4, signed=0, narrow=1)
    scale = 2.0 ** np.random.default_rng(2).integers(-4, 1, (4, 1))
    net.dense(9, 4, 3, scale, turned=True)
    case("scales_per_channel", net, uniform(22, 40, 7, -4, 4))

    net = Net(36, 7).quant(0.5, 3).dense(7, 9, 2, 0.5, narrow=1).run("Clip", -1.0, 1.0)
    net.quant(0.125, 5).run("Identity").dense(9, 4, 2, 1.0, narrow=1)
    case("ternary_hardtanh", net, uniform(23, 40, 7, -2, 2))

    net = Net(38, 7).quant(0.5, 4).dense(7, 9, 3, 0.5)
    net.run("Sub", net.rng.normal(0, 1, 9), first=True).run("Div", 2.0).run("Mul", net.rng.normal(0, 1, 9), first=True)
    net.quant(0.5, 6).run("Relu").quant(1.0, 3, signed=0).run("Mul", 2.0).run("Add", -6.0)
    case("affine_chains", net.dense(9, 4, 3, 0.5), uniform(24, 40, 7, -4, 4))

    net = Net(40, 9).quant(1.0, 1).dense(9, 8, 8, 2.0**-6, narrow=0).quant(2.0**-3, 8).dense(8, 5, 8, 2.0**-7)
    net.at = net.add("TopK", net.at, net.const([2], np.int64), outputs=2, axis=1)
    case("eight_bits_top_k", net, uniform(25, 40, 9))

    net = Net(42, 9)
    net.annotations["x"] = "UINT4"
    net.run("MatMul", net.rng.integers(-4, 4, (9, 6)))
    net.annotations[net.constants[-1].name] = "INT3"
    net.run("MultiThreshold", np.sort(net.rng.integers(-40, 40, (6, 3))), domain=FINN, out_dtype="UINT2")
    net.run("MatMul", net.rng.integers(-1, 2, (6, 3)))
    net.annotations[net.constants[-1].name] = "TERNARY"
    case("annotated_integers", net, np.random.default_rng(26).integers(0, 16, (40, 9)))

    net = Net(44, 9).quant(0.5, 4).run("Flatten").dense(9, 6, 3, 0.5).run("Add", 0.3).run("Relu").quant(0.5, 2, signed=0)
    net.run("Dropout").dense(6, 3, 2, 1.0).run("Sigmoid")
    case("sigmoid_tail", net, uniform(27, 40, 9), kind="float")


if __name__ == "__main__":
    for old in HERE.iterdir():
        if old.is_dir():
            shutil.rmtree(old)
    ties()
    networks()
    forms()
    (HERE / "cases.json").write_text(json.dumps(CASES, indent=1) + "\n")
