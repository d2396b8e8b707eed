#!/usr/bin/env python3
"""Train a small convolution network for traffic signs with stochastic ternary weights.

    pixels, 8 bits signed                         3 x 32x32
    convolution 3x3, border, 2 bits, pool 2x2    16 x 16x16
    convolution 3x3, border, 2 bits, pool 2x2    32 x 8x8
    convolution 3x3, border, 2 bits, pool 2x2    48 x 4x4
    convolution 3x3, 2 bits                      64 x 2x2
    dense                                        43, one number a class

The border is one pixel of zeros.  No layer has a bias; each is followed by batch-norm,
and all but the last by an unsigned 2-bit activation, 0 .. 3.

Training has three phases.  First the weights are real numbers.  Then each layer's are
divided by 1.5 times their standard deviation and clipped to [-1, 1], and each batch
uses one network drawn from them, as in train.py.  Last ("settle"), members are drawn
with as few random bits as in the file, and the batch-norms keep one set of statistics
for all members, estimated anew before each epoch, as the file has one.

The images are the GTSRB training images at 32x32 of the folder --data: `train_*.png`,
RGB strips of one image below the other, `train_labels.u8` and `train_track.u16le`.
All frames of a track show the same sign, so whole tracks are held out for validation,
every fifth of each class.  There are no test images here.

The result is ONNX: raw pixels 0..255 in, float32 [1, 3, 32, 32]; weights are int8
numbers of 127ths behind Cast, Div and StochasticQuant.
"""

import argparse
import copy
import math
import pathlib
import time

import numpy as np
import onnx
import torch
from onnx import TensorProto
from PIL import Image
from torch import nn
from torch.nn import functional

import sampler
from export import QONNX, STEPS, STOXNOR, Graph
from train import BATCH, EPS, INIT, MOMENTUM, RATE_END, RATE_NORM, draw

SIDE, COLOURS, CLASSES = 32, 3, 43
# Of each convolution: channels that come out, zeros around the image, pool behind it.
CONVOLUTIONS = ((16, 1, 2), (32, 1, 2), (48, 1, 2), (64, 0, 1))
DEPTH = len(CONVOLUTIONS)
LEVELS = 3  # largest value of an activation
# A pixel p becomes round(p * INPUT_FACTOR - INPUT_OFFSET): -64 .. 127, never a tie, and
# nearly 0 on average, which is what convolutions find beyond the border.
INPUT_FACTOR, INPUT_OFFSET = 0.75, 63.875
GAMMA, BETA = 1.5, 0.5  # of the activations' batch-norms before training
HOLD_OUT = 5  # one track in so many
SHIFT = 2  # pixels by which training images are moved, at most
RATE_REAL, RATE_TERNARY, RATE_SETTLE = 2e-3, 2e-2, 2e-3
SPREAD = 1.5  # standard deviations that become a weight of 1
BITS, SHARE, USER = 1, 8, 1  # of StochasticQuant
MEMBERS = 16
COMMON = 64  # other members, whose statistics all share
SIZES = (1, 2, 4, 8, 16)
CALIBRATION = 2000  # training images of the statistics


def load(folder):
    """All images (uint8 [n, 3, 32, 32]), their classes, and which are for validation."""
    folder = pathlib.Path(folder)
    strips = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(folder.glob("train_*.png"))]
    images = np.concatenate(strips).reshape(-1, SIDE, SIDE, COLOURS).transpose(0, 3, 1, 2)
    labels = np.fromfile(folder / "train_labels.u8", np.uint8)
    tracks = np.fromfile(folder / "train_track.u16le", "<u2")
    return np.ascontiguousarray(images), labels, tracks % HOLD_OUT == HOLD_OUT - 1


def quantise(images):
    """The integers that layer 1 takes, as float32."""
    return torch.round(torch.from_numpy(images).float() * INPUT_FACTOR - INPUT_OFFSET)


def moved(x):
    """Move each image by up to SHIFT pixels; the border is repeated."""
    span, count = 2 * SHIFT + 1, len(x)
    padded = functional.pad(x, [SHIFT] * 4, mode="replicate").permute(0, 2, 3, 1)
    row, column = torch.randint(span, (2, count, 1)) + torch.arange(SIDE)
    image = torch.arange(count)[:, None, None]
    return padded[image, row[:, :, None], column[:, None, :]].permute(0, 3, 1, 2)


class Activation(torch.autograd.Function):
    """Round to 0 .. LEVELS; the gradient passes half a step beyond both ends."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return torch.round(u).clamp(0, LEVELS)

    @staticmethod
    def backward(ctx, grad):
        (u,) = ctx.saved_tensors
        return grad * ((u >= -0.5) & (u <= LEVELS + 0.5))


class Net(nn.Module):
    """Real weights and batch-norms; the weights to compute with are an argument."""

    def __init__(self):
        super().__init__()
        shapes, depth, side = [], COLOURS, SIDE
        for rows, padding, pool in CONVOLUTIONS:
            shapes.append((rows, depth, 3, 3))
            depth, side = rows, (side + 2 * padding - 2) // pool
        shapes.append((CLASSES, depth * side * side))
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(shape).uniform_(-INIT, INIT)) for shape in shapes
        )
        kinds = [nn.BatchNorm2d] * DEPTH + [nn.BatchNorm1d]
        self.norms = nn.ModuleList(
            kind(shape[0], eps=EPS, momentum=MOMENTUM) for kind, shape in zip(kinds, shapes)
        )
        for norm in self.norms[:-1]:
            nn.init.constant_(norm.weight, GAMMA)
            nn.init.constant_(norm.bias, BETA)

    def draw(self, bits=None):
        """Draw one ternary network: a list of leaves that collect gradients.

        With `bits`, the weights are first rounded to the probabilities that so many have.
        """
        weights = [w.detach() for w in self.weights]
        if bits:
            weights = [torch.round(w * 2**bits) / 2**bits for w in weights]
        return [draw(w, "ternary").requires_grad_() for w in weights]

    def sums(self, i, x, weight):
        """The products of layer i alone."""
        if i < DEPTH:
            return functional.conv2d(x, weight, padding=CONVOLUTIONS[i][1])
        return functional.linear(x.flatten(1), weight)

    def activate(self, i, z):
        """What follows the products of layer i: the input of the next one."""
        u = self.norms[i](z)
        if i == DEPTH:
            return u
        # Rounding keeps order, so it may come after the maximum; in the file it comes before.
        return Activation.apply(functional.max_pool2d(u, CONVOLUTIONS[i][2]))

    def forward(self, x, weights):
        for i, weight in enumerate(weights):
            x = self.activate(i, self.sums(i, x, weight))
        return x


@torch.no_grad()
def settle(net, members, x):
    """Give the batch-norms one set of statistics, over the sums of all these members.

    Layer after layer, each with the statistics of those before it in force.
    """
    net.eval()
    inputs = [x] * len(members)
    for i, norm in enumerate(net.norms):
        count, total, squares = 0, 0, 0
        for m, weights in enumerate(members):
            for part in inputs[m].split(500):
                z = net.sums(i, part.float(), weights[i])
                z = z.transpose(0, 1).flatten(1).double()
                count += z.shape[1]
                total, squares = total + z.sum(1), squares + (z * z).sum(1)
        mean = total / count
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(squares / count - mean * mean)
        if i < DEPTH:
            inputs = [
                torch.cat(
                    [
                        net.activate(i, net.sums(i, part.float(), weights[i])).to(torch.int8)
                        for part in inputs[m].split(500)
                    ]
                )
                for m, weights in enumerate(members)
            ]
    return net


@torch.no_grad()
def outputs(net, weights, x):
    """The numbers of the classes, with the statistics in force."""
    net.eval()
    return torch.cat([net(part, weights) for part in x.split(500)])


def error(y, truth):
    """Error rate in percent."""
    return 100 * (y.argmax(1) != truth).double().mean().item()


def schedule(optimiser, steps):
    """Half a cosine from each rate down to RATE_END of it."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: RATE_END + (1 - RATE_END) * (1 + math.cos(math.pi * step / steps)) / 2,
    )


def train(net, phase, epochs, rate, x, y, valid, truth):
    """One phase of the training: "real", "ternary" or "settle"."""
    optimiser = torch.optim.Adam(
        [
            {"params": net.weights.parameters(), "lr": rate},
            {"params": net.norms.parameters(), "lr": min(rate, RATE_NORM)},
        ]
    )
    scheduler = schedule(optimiser, epochs * -(-len(x) // BATCH))
    start = time.monotonic()
    for epoch in range(1, epochs + 1):
        net.train()
        bits = BITS if phase == "settle" else None
        if phase == "settle":
            chosen = torch.randperm(len(x))[: CALIBRATION // 4]
            settle(net, [net.draw(bits) for _ in range(MEMBERS)], x[chosen])
        loss_sum = 0.0
        for chosen in torch.randperm(len(x)).split(BATCH):
            weights = list(net.weights) if phase == "real" else net.draw(bits)
            loss = functional.cross_entropy(net(moved(x[chosen]), weights), y[chosen])
            optimiser.zero_grad()
            loss.backward()
            if phase != "real":
                for real, sample in zip(net.weights, weights):
                    real.grad = sample.grad
            optimiser.step()
            scheduler.step()
            if phase != "real":
                with torch.no_grad():
                    for real in net.weights:
                        real.clamp_(-1, 1)
            loss_sum += loss.item() * len(chosen)
        one = list(net.weights) if phase == "real" else net.draw(bits)
        own = settle(copy.deepcopy(net), [one], x[::10])
        what = "real weights" if phase == "real" else "one drawn network"
        print(
            f"{phase:7s} epoch {epoch:3d}  loss {loss_sum / len(x):.4f}  "
            f"validation error: {what} {error(outputs(own, one, valid), truth):.2f} %  "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )


def member(net, bits, share, seed):
    """The weights of a member as the tool draws them, with words of numpy's generator."""
    generator, drawn = np.random.default_rng(seed), []
    for w in net.weights:
        w = w.detach().numpy()
        # Rows that share words; the order of columns does not matter to fresh words.
        rows = w.reshape(len(w), -1)
        groups = -(-len(rows) // share)
        words = generator.integers(0, 1 << bits, (groups, rows.shape[1]), dtype=np.int32)
        words = np.repeat(words, share, axis=0)[: len(rows)]
        codes = sampler.draw_adder(sampler.quantise_ternary(rows, bits), words, bits)
        drawn.append(torch.from_numpy(codes.reshape(w.shape).astype(np.float32)))
    return drawn


def share_statistics(net, bits, share, x):
    """Give the batch-norms the statistics of many members, none of those that are judged."""
    return settle(net, [member(net, bits, share, [USER + 1, m]) for m in range(COMMON)], x)


def judge(net, x, valid, truth):
    """Print the validation errors; all statistics are those of the images x."""
    real = [w.detach() for w in net.weights]
    nearest = [torch.from_numpy(sampler.quantise_ternary(w.numpy(), 0)).float() for w in real]
    print(f"\nvalidation error in %, statistics of {len(x)} training images")
    for name, weights in (("real weights (base)", real), ("nearest ternary", nearest)):
        own = settle(copy.deepcopy(net), [weights], x)
        print(f"{name}: {error(outputs(own, weights, valid), truth):.2f}")
    print(f"members 0 to M-1 (mean over disjoint groups of M of {MEMBERS}):")
    for bits in (1, 2):
        common = share_statistics(copy.deepcopy(net), bits, SHARE, x)
        found = {"own": [], f"those of {COMMON} other members": []}
        for m in range(MEMBERS):
            weights = member(net, bits, SHARE, [USER, m])
            for way, normed in zip(found, (settle(copy.deepcopy(net), [weights], x), common)):
                found[way].append(outputs(normed, weights, valid))
        for way, y in found.items():
            cells = []
            for size in SIZES:
                groups = [error(part.mean(0), truth) for part in torch.stack(y).split(size)]
                cells.append(f"M={size} {groups[0]:.2f} ({np.mean(groups):.2f})")
            print(f"bits {bits}, share {SHARE}, statistics {way}: {'  '.join(cells)}", flush=True)


def export(net, path):
    """Write the network with the statistics in force."""
    graph = Graph()
    at = graph.add("Mul", ["x", graph.constant("input_factor", INPUT_FACTOR)], "scaled")
    at = graph.add("Sub", [at, graph.constant("input_offset", INPUT_OFFSET)], "centred")
    one, zero = graph.constant("one", 1.0), graph.constant("zero", 0.0)
    eight, two = graph.constant("eight", 8.0), graph.constant("two", 2.0)
    rounding = {"narrow": 0, "rounding_mode": "ROUND"}
    at = graph.add("Quant", [at, one, zero, eight], "pixels", QONNX, signed=1, **rounding)
    steps = graph.constant("steps", float(STEPS))

    for i, (weight, norm) in enumerate(zip(net.weights, net.norms), 1):
        code = np.rint(weight.detach().numpy() * STEPS)
        w = graph.constant(f"w{i}", code, np.int8)
        w = graph.add("Cast", [w], f"cast{i}", to=TensorProto.FLOAT)
        w = graph.add("Div", [w, steps], f"real{i}")
        w = graph.add("StochasticQuant", [w], f"drawn{i}", STOXNOR,
                      law="ternary", bits=BITS, share=SHARE, seed=USER)
        if i <= DEPTH:
            _, padding, pool = CONVOLUTIONS[i - 1]
            at = graph.add("Conv", [at, w], f"sums{i}", kernel_shape=[3, 3],
                           strides=[1, 1], pads=[padding] * 4)
        else:
            at = graph.add("Flatten", [at], "flat", axis=1)
            w = graph.add("Transpose", [w], f"turned{i}", perm=[1, 0])
            at = graph.add("MatMul", [at, w], f"sums{i}")
        parameters = zip(
            ("gamma", "beta", "mean", "var"),
            (norm.weight, norm.bias, norm.running_mean, norm.running_var),
        )
        names = [graph.constant(f"{k}{i}", v.detach().numpy()) for k, v in parameters]
        at = graph.add("BatchNormalization", [at, *names], f"norm{i}", epsilon=norm.eps)
        if i <= DEPTH:
            at = graph.add("Quant", [at, one, zero, two], f"bits{i}", QONNX, signed=0, **rounding)
            if pool > 1:
                at = graph.add("MaxPool", [at], f"pool{i}",
                               kernel_shape=[pool] * 2, strides=[pool] * 2)
    onnx.save(graph.model("gtsrb_conv", [1, COLOURS, SIDE, SIDE], [1, CLASSES], at), path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with the GTSRB images")
    parser.add_argument("--out", required=True, help="the .onnx file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, nargs=3, default=(20, 60, 12),
                        metavar=("REAL", "TERNARY", "SETTLE"), help="of the three phases")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    images, labels, held = load(args.data)
    images, labels = quantise(images), torch.from_numpy(labels.astype(np.int64))
    x, y, valid, truth = images[~held], labels[~held], images[held], labels[held]
    net = Net()
    print(
        f"seed {args.seed}, {args.epochs} epochs, {args.threads} threads, "
        f"PyTorch {torch.__version__}; {len(x)} training and {len(valid)} validation images, "
        f"{sum(w.numel() for w in net.weights)} weights"
    )

    start = time.monotonic()
    real, ternary, settled = args.epochs
    train(net, "real", real, RATE_REAL, x, y, valid, truth)
    with torch.no_grad():
        for w in net.weights:
            w.div_(SPREAD * w.std()).clamp_(-1, 1)
    train(net, "ternary", ternary, RATE_TERNARY, x, y, valid, truth)
    train(net, "settle", settled, RATE_SETTLE, x, y, valid, truth)

    with torch.no_grad():
        for w in net.weights:
            w.copy_(torch.round(w * STEPS) / STEPS)  # as they are stored
    calibration = x[torch.randperm(len(x))[:CALIBRATION]]
    judge(net, calibration, valid, truth)
    share_statistics(net, BITS, SHARE, calibration)
    print(f"in the file: bits {BITS}, share {SHARE}, statistics those of {COMMON} members")
    export(net, args.out)
    print(f"{time.monotonic() - start:.0f} s in all")


if __name__ == "__main__":
    main()
