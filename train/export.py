#!/usr/bin/env python3
"""Write a network of train.py as an ONNX file with stochastic weights.

The graph takes raw pixels 0..255, float32 [1, 784]:

    Sub 128, Quant to 8 bits                             -128 .. 127
    MatMul, BatchNormalization, BipolarQuant             twice
    MatMul, BatchNormalization                           10 numbers, the largest is the answer

Weights are stored as int8 numbers of 127ths [outputs, inputs] and go through Cast, Div
and StochasticQuant.  The statistics of the batch-norms are told by --statistics:

training   running averages of the training, over the networks drawn there
base       those of the network with its real weights
shared     mean and variance over the sums of members 0..M-1
member     those of each of the members 0..M-1, behind operators `Member`; the last
           batch-norm has one set.  Such a file holds for these members only

All but the first are estimated on training images 0..9,999, with the stored weights.
"""

import argparse

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from evaluate import BITS, INPUT_SCALE, LAYERS, SHARE, USER, ZERO, Net, propagate
from train import CALIBRATION, load_training_set

STEPS = 127  # of a weight between 0 and 1
OPSET = 13
QONNX, BREVITAS, STOXNOR = "qonnx.custom_op.general", "onnx.brevitas", "stoxnor"


class Graph:
    """A chain of operators from `x`; constants are initialisers."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def constant(self, name, value, kind=np.float32):
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), name))
        return name

    def add(self, op, inputs, output, domain="", **attributes):
        self.nodes.append(
            helper.make_node(op, inputs, [output], name=output, domain=domain, **attributes)
        )
        return output

    def model(self, name, inputs, outputs, output):
        """The model of this name, with the shapes of its input and its output."""
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, inputs)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, outputs)],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        opsets += [helper.make_opsetid(domain, 1) for domain in (QONNX, BREVITAS, STOXNOR)]
        model = helper.make_model(
            graph, opset_imports=opsets, producer_name="train/export.py", ir_version=8
        )
        onnx.checker.check_model(model)
        return model


def training_moments(path, weights):
    """Running means and variances of train.py in units of layer 1's integer input.

    Training saw pixel / 127.5 - 1 = (pixel - 128 + 0.5) / 127.5, so its sums are
    (ours + 0.5 * sum of the row's weights) / 127.5.
    """
    file = np.load(path)
    moments = [(file[f"mean{i}"].astype(float), file[f"var{i}"].astype(float)) for i in LAYERS]
    mean, variance = moments[0]
    rows = weights[0].sum(1, dtype=float)
    shift = ZERO * INPUT_SCALE - 1
    moments[0] = (mean - shift * rows) / INPUT_SCALE, variance / INPUT_SCALE**2
    return [[m] for m in moments]


def moments_of(net, args):
    """For each layer a list of (mean, variance): one for each member, or one for all."""
    if args.statistics == "training":
        return training_moments(args.net, net.weights)
    images, _ = load_training_set(args.data)
    x = torch.from_numpy(images[:CALIBRATION].astype(np.float32) - ZERO)
    if args.statistics == "base":
        members = [net.weights]
    else:
        members = [net.member(args.law, args.user, m) for m in range(args.members)]
    _, statistics = propagate(x, members, net.norms, args.statistics == "shared")
    return [[tuple(t.numpy() for t in s.moments()) for s in layer] for layer in statistics]


def export(args):
    net = Net(args.net)
    codes = [np.rint(w * STEPS).astype(np.int8) for w in net.weights]
    net.weights = [c.astype(np.float32) / np.float32(STEPS) for c in codes]

    graph = Graph()
    at = graph.add("Sub", ["x", graph.constant("zero", float(ZERO))], "centred")
    quantiser = [graph.constant(f"input_{k}", v) for k, v in
                 (("scale", 1.0), ("zero_point", 0.0), ("bits", 8.0))]
    at = graph.add("Quant", [at, *quantiser], "pixels", QONNX,
                   signed=1, narrow=0, rounding_mode="ROUND")
    steps, one = graph.constant("steps", float(STEPS)), graph.constant("one", 1.0)

    layers = zip(LAYERS, codes, net.norms, moments_of(net, args))
    for i, code, (gamma, beta, eps), moments in layers:
        w = graph.constant(f"w{i}", code, np.int8)
        w = graph.add("Cast", [w], f"cast{i}", to=TensorProto.FLOAT)
        w = graph.add("Div", [w, steps], f"real{i}")
        w = graph.add("StochasticQuant", [w], f"drawn{i}", STOXNOR,
                      law=args.law, bits=BITS, share=SHARE, seed=args.user)
        w = graph.add("Transpose", [w], f"turned{i}", perm=[1, 0])
        at = graph.add("MatMul", [at, w], f"sums{i}")
        norm = [graph.constant(f"gamma{i}", gamma), graph.constant(f"beta{i}", beta)]
        for name, values in zip((f"mean{i}", f"var{i}"), zip(*moments)):
            if len(values) == 1:
                norm.append(graph.constant(name, values[0]))
            else:
                each = graph.constant(f"{name}_members", np.stack(values))
                norm.append(graph.add("Member", [each], name, STOXNOR))
        # The epsilon of layer 1 is that of training times 127.5^2, like its variances:
        # gamma * (sum - mean) / sqrt(var + epsilon) is what training computed.
        at = graph.add("BatchNormalization", [at, *norm], f"norm{i}", epsilon=eps)
        if i != LAYERS[-1]:
            at = graph.add("BipolarQuant", [at, one], f"bits{i}", BREVITAS)

    sizes = [codes[0].shape[1], *map(len, codes)]
    name = "_".join(map(str, ["mnist", *sizes]))
    onnx.save(graph.model(name, [1, sizes[0]], [1, sizes[-1]], at), args.out)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--net", required=True, help="the .npz file of train.py")
    parser.add_argument("--out", required=True, help="the .onnx file to write")
    parser.add_argument("--law", choices=("ternary", "binary"), default="ternary")
    parser.add_argument("--statistics", choices=("training", "base", "shared", "member"),
                        default="training", help="of the batch-norms")
    parser.add_argument("--data", help="folder with the MNIST .gz files, for all but `training`")
    parser.add_argument("--members", type=int, default=16, help="for `shared` and `member`")
    parser.add_argument("--user", type=int, default=USER, help="user seed")
    args = parser.parse_args()
    if args.statistics != "training" and not args.data:
        parser.error("--data is needed to estimate statistics")
    export(args)


if __name__ == "__main__":
    main()
