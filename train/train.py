#!/usr/bin/env python3
"""Train the MNIST network 784-256-256-10 with stochastic bitwise weights.

Every layer is a product without bias followed by batch-norm; the two hidden
layers end in a 1-bit activation (-1 or +1), the output layer in its batch-norm.
The weights stay real numbers in [-1, 1].  Each batch uses one network drawn from
them (stochastic rounding to {-1, 0, +1} or {-1, +1}), and the gradient at the drawn
weight is applied to the real one.

The last 10,000 training images are held out for validation.  The test images are
never read.  The result is an .npz file with, for each layer i = 1, 2, 3, in float32:
w{i} [out, in], and gamma{i}, beta{i}, mean{i}, var{i} [out].  Means and variances are
running averages over the drawn networks; they refer to the input pixel/127.5 - 1.
"""

import argparse
import copy
import gzip
import math
import pathlib
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

SIZES = (784, 256, 256, 10)
VALIDATION = 10_000
CALIBRATION = 10_000
BATCH = 100
RATE_WEIGHT = 3e-2
RATE_NORM = 3e-3
RATE_END = 0.01  # last learning rate, as a fraction of the first
INIT = 0.1
EPS = 1e-4
MOMENTUM = 0.01


def load_images(path):
    """Read a gzipped IDX3 file as a uint8 array [images, pixels]."""
    with gzip.open(path) as file:
        magic, count, height, width = np.frombuffer(file.read(16), ">u4").tolist()
        if magic != 0x803:
            raise ValueError(f"{path}: not an IDX3 file of bytes")
        return np.frombuffer(file.read(), np.uint8).reshape(count, height * width)


def load_labels(path):
    """Read a gzipped IDX1 file as a uint8 array [images]."""
    with gzip.open(path) as file:
        magic, count = np.frombuffer(file.read(8), ">u4").tolist()
        if magic != 0x801:
            raise ValueError(f"{path}: not an IDX1 file of bytes")
        return np.frombuffer(file.read(), np.uint8).reshape(count)


def load_training_set(folder):
    """Return the 60,000 MNIST training images (uint8 [n, 784]) and their labels."""
    folder = pathlib.Path(folder)
    images = load_images(folder / "train-images-idx3-ubyte.gz")
    labels = load_labels(folder / "train-labels-idx1-ubyte.gz")
    return images, labels


def normalise(images):
    """Map pixels 0..255 to float32 in [-1, 1]."""
    return torch.from_numpy(images.astype(np.float32) / np.float32(127.5) - np.float32(1))


class Sign(torch.autograd.Function):
    """-1 or +1 (+1 at zero); the gradient passes where |u| <= 1."""

    @staticmethod
    def forward(ctx, u):
        ctx.save_for_backward(u)
        return torch.where(u >= 0, 1.0, -1.0)

    @staticmethod
    def backward(ctx, grad):
        (u,) = ctx.saved_tensors
        return grad * (u.abs() <= 1)


def draw(weight, law):
    """Round each weight at random so that its expectation is kept."""
    uniform = torch.rand_like(weight)
    if law == "binary":
        return torch.where(uniform < (weight + 1) / 2, 1.0, -1.0)
    return torch.where(uniform < weight.abs(), weight.sign(), 0.0)


class Net(nn.Module):
    """Real weights and batch-norms; the weights to compute with are an argument."""

    def __init__(self):
        super().__init__()
        self.weights = nn.ParameterList(
            nn.Parameter(torch.empty(rows, cols).uniform_(-INIT, INIT))
            for cols, rows in zip(SIZES, SIZES[1:])
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm1d(rows, eps=EPS, momentum=MOMENTUM) for rows in SIZES[1:]
        )

    def draw(self, law):
        """Draw one bitwise network: a list of leaves that collect gradients."""
        return [draw(w.detach(), law).requires_grad_() for w in self.weights]

    def forward(self, x, weights):
        last = len(weights) - 1
        for i, (weight, norm) in enumerate(zip(weights, self.norms)):
            x = norm(functional.linear(x, weight))
            if i < last:
                x = Sign.apply(x)
        return x


@torch.no_grad()
def error(net, weights, calibration, x, y):
    """Error rate in percent, with batch-norm statistics of these very weights."""
    net = copy.deepcopy(net)
    for norm in net.norms:
        norm.momentum = 1.0
    net.train()
    net(calibration, weights)
    net.eval()
    wrong = net(x, weights).argmax(1) != y
    return 100 * wrong.double().mean().item()


def train(images, labels, epochs, law):
    """Train a network; the images are split into training and validation here."""
    x, y = normalise(images), torch.from_numpy(labels.astype(np.int64))
    x_train, y_train = x[:-VALIDATION], y[:-VALIDATION]
    x_valid, y_valid = x[-VALIDATION:], y[-VALIDATION:]
    calibration = x_train[:CALIBRATION]

    net = Net()
    optimiser = torch.optim.Adam(
        [
            {"params": net.weights.parameters(), "lr": RATE_WEIGHT},
            {"params": net.norms.parameters(), "lr": RATE_NORM},
        ]
    )
    steps = epochs * (len(x_train) // BATCH)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda step: RATE_END + (1 - RATE_END) * (1 + math.cos(math.pi * step / steps)) / 2,
    )

    start = time.monotonic()
    for epoch in range(1, epochs + 1):
        total = 0.0
        for chosen in torch.randperm(len(x_train)).split(BATCH):
            drawn = net.draw(law)
            loss = functional.cross_entropy(net(x_train[chosen], drawn), y_train[chosen])
            optimiser.zero_grad()
            loss.backward()
            for real, sample in zip(net.weights, drawn):
                real.grad = sample.grad
            optimiser.step()
            scheduler.step()
            with torch.no_grad():
                for real in net.weights:
                    real.clamp_(-1, 1)
            total += loss.item() * len(chosen)
        real = error(net, list(net.weights), calibration, x_valid, y_valid)
        member = error(net, net.draw(law), calibration, x_valid, y_valid)
        print(
            f"epoch {epoch:3d}  loss {total / len(x_train):.4f}  "
            f"validation error: real weights {real:.2f} %, one drawn network {member:.2f} %  "
            f"{time.monotonic() - start:.0f} s",
            flush=True,
        )
    return net


def save(path, net):
    """Write weights and batch-norm parameters as float32 arrays."""
    arrays = {}
    for i, (weight, norm) in enumerate(zip(net.weights, net.norms), 1):
        arrays[f"w{i}"] = weight
        arrays[f"gamma{i}"] = norm.weight
        arrays[f"beta{i}"] = norm.bias
        arrays[f"mean{i}"] = norm.running_mean
        arrays[f"var{i}"] = norm.running_var
    np.savez(path, **{k: v.detach().numpy().astype(np.float32) for k, v in arrays.items()})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True, help="folder with the MNIST .gz files")
    parser.add_argument("--out", required=True, help="the .npz file to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--law", choices=("ternary", "binary"), default="ternary")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    print(
        f"seed {args.seed}, {args.epochs} epochs, {args.law}, {args.threads} threads, "
        f"PyTorch {torch.__version__}"
    )
    images, labels = load_training_set(args.data)
    save(args.out, train(images, labels, args.epochs, args.law))


if __name__ == "__main__":
    main()
