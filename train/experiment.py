#!/usr/bin/env python3
"""Validation error of ensembles over B, G, ternary form and user seed.

Writes one JSON line for each (user seed, configuration) of one network.  All sums are
integers computed exactly; layer 1 sees pixel - 128, which differs from the input of
training by a scale (taken into account) and a constant (absorbed by batch-norm).
"""

import argparse
import json
import time

import numpy as np
import torch

import sampler
from train import CALIBRATION, EPS, VALIDATION, load_training_set, normalise

MEMBERS = 16
LAYERS = (1, 2, 3)
INPUT_SCALE = 1 / 127.5
CONFIGS = (
    [("adder", b, g) for b in (1, 2, 4, 8) for g in (1, 8, 64, 256)]
    + [("magnitude", b, g) for b in (1, 2, 4, 8) for g in (64, 256)]
    + [("ideal", b, 0) for b in (1, 2, 4, 8)]
)


def affine(z, gamma, beta, scale=1.0):
    """Factor and offset of a batch-norm with the statistics of z, in units of z."""
    var, mean = torch.var_mean(z, 0, correction=0)
    factor = gamma * scale / torch.sqrt(var * scale**2 + EPS)
    return factor, beta - factor * mean


def run_member(x, weights, norms):
    """Integer sums and batch-norm outputs of the last layer.

    x holds the calibration images first; statistics come from them alone.
    """
    for layer in LAYERS:
        z = torch._int_mm(x, weights[layer].t()).float()
        scale = INPUT_SCALE if layer == 1 else 1.0
        factor, offset = affine(z[:CALIBRATION], *norms[layer], scale)
        y = torch.addcmul(offset, z, factor)
        x = (y >= 0).to(torch.int8) * 2 - 1
    return z, y


def run_base(x, weights, norms, stats=None):
    """The network with its real weights; own statistics, or the stored ones."""
    for layer in LAYERS:
        z = x @ weights[layer].t()
        if stats is None:
            factor, offset = affine(z[:CALIBRATION], *norms[layer])
        else:
            mean, var = stats[layer]
            factor = norms[layer][0] / torch.sqrt(var + EPS)
            offset = norms[layer][1] - factor * mean
        y = torch.addcmul(offset, z, factor)
        x = torch.where(y >= 0, 1.0, -1.0)
    return y


def pad(w):
    """Add zero rows up to a multiple of 16, for torch._int_mm; they are cut off again."""
    short = -w.shape[0] % 16
    return np.pad(w, ((0, short), (0, 0))) if short else w


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", required=True)
    parser.add_argument("--net", required=True)
    parser.add_argument("--name", type=int, required=True, help="training seed, recorded")
    parser.add_argument("--users", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--out", required=True)
    args = parser.parse_args()

    torch.set_num_threads(1)
    images, labels = load_training_set(args.data)
    both = np.concatenate([images[:CALIBRATION], images[-VALIDATION:]])
    truth = torch.from_numpy(labels[-VALIDATION:].astype(np.int64))
    x = torch.from_numpy((both.astype(np.int16) - 128).astype(np.int8))

    net = np.load(args.net)
    real = {i: net[f"w{i}"] for i in LAYERS}
    norms = {i: tuple(torch.from_numpy(net[f"{k}{i}"]) for k in ("gamma", "beta")) for i in LAYERS}
    stats = {i: tuple(torch.from_numpy(net[f"{k}{i}"]) for k in ("mean", "var")) for i in LAYERS}
    quantised = {(b, i): sampler.quantise_ternary(real[i], b) for b in (1, 2, 4, 8) for i in LAYERS}

    def error(y):
        return 100 * (y.argmax(1) != truth).double().mean().item()

    out = open(args.out, "a")

    def record(**fields):
        out.write(json.dumps({"net": args.name, **fields}) + "\n")
        out.flush()

    weights = {i: torch.from_numpy(real[i]) for i in LAYERS}
    own = run_base(normalise(both), weights, norms)
    stored = run_base(normalise(both), weights, norms, stats)
    record(form="base", own=error(own[CALIBRATION:]), stored=error(stored[CALIBRATION:]))

    # The last layer padded to 16 rows: its batch-norm is cut back to 10 columns below.
    rows3 = real[3].shape[0]
    padded = dict(norms)
    padded[3] = tuple(torch.nn.functional.pad(v, (0, -rows3 % 16)) for v in norms[3])

    for user in args.users:
        start = time.monotonic()
        sources = {
            (i, m): sampler.stream(
                sampler.seed(user, i, m), sampler.bits_needed(*real[i].shape, 8, 1)
            )
            for i in LAYERS
            for m in range(MEMBERS)
        }
        for form, b, g in CONFIGS:
            outputs, sums = [], []
            for m in range(MEMBERS):
                drawn = {}
                for i in LAYERS:
                    w = quantised[b, i]
                    if form == "ideal":
                        rng = np.random.default_rng([args.name, user, i, m, b])
                        u = rng.integers(0, 1 << b, w.shape, dtype=np.int32)
                    else:
                        u = sampler.words(sources[i, m], *w.shape, b, g)
                    if form == "magnitude":
                        bitwise = sampler.draw_magnitude(w, u)
                    else:
                        bitwise = sampler.draw_adder(w, u, b)
                    drawn[i] = torch.from_numpy(pad(bitwise))
                z, y = run_member(x, drawn, padded)
                outputs.append(y[CALIBRATION:, :rows3])
                sums.append(z[:, :rows3])
            result = {"M1": [error(y) for y in outputs]}
            for size in (4, 16):
                result[f"M{size}"] = [
                    error(sum(outputs[k : k + size]) / size) for k in range(0, MEMBERS, size)
                ]
                raw = []
                for k in range(0, MEMBERS, size):
                    z = sum(sums[k : k + size]) / size
                    factor, offset = affine(z[:CALIBRATION], *norms[3])
                    raw.append(error(torch.addcmul(offset, z, factor)[CALIBRATION:]))
                result[f"raw{size}"] = raw
            record(form=form, B=b, G=g, user=user, **result)
        print(f"net {args.name} user {user}: {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
