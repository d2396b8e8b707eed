#!/usr/bin/env python3
"""Error of ensembles of bitwise networks against their number of members.

`evaluate.py run` takes one network of train.py and writes a JSON line for each way of
using it, on the validation images (the last 10,000 of the training file) or on the
test images.  `evaluate.py table` makes the tables of these files.  All that is
compared is fixed here, so that the test images need to be read only once:

- one random bit a weight, shared by 64 rows, the rule of the stochastic guide
  (sampler.py), user seed 1, members 0 to 31; and ideal randomness: a generator of
  numpy, a word of its own for each weight;
- per-member thresholds: each member has its own batch-norm statistics in the hidden
  layers; shared thresholds: all members have one set, the mean and variance over the
  sums of all members, layer by layer;
- the integer sums of the last layer are added over members and go through one
  batch-norm, with the mean and variance over the sums of all members, whatever the
  number of members added;
- the base: the real weights themselves, and each weight rounded to the nearest
  ternary number or to its sign, with their own statistics.

All statistics are those of training images 0..9,999.  Layer 1 takes pixel - 128.  Sums
are integers computed exactly (float32, below 2^24), statistics and batch-norms float64.
"""

import argparse
import json
import pathlib

import numpy as np
import torch

import sampler
from train import CALIBRATION, EPS, VALIDATION, load_images, load_labels, load_training_set

BITS = 1
SHARE = 64
USER = 1
MEMBERS = 32
SIZES = (1, 2, 4, 8, 16, 32)
JUDGED = 16  # members of the ensemble that is held against the base
LAYERS = (1, 2, 3)
ZERO = 128  # what is subtracted from a pixel
INPUT_SCALE = 1 / 127.5  # training saw pixel / 127.5 - 1
LAWS = {"ternary": "adder", "binary": "binary"}  # in the words of sampler.py
CONFIDENCE = 0.95


class Net:
    """Real weights and batch-norm parameters, in units of layer 1's integer input.

    The constant between pixel / 127.5 - 1 and (pixel - 128) / 127.5 is the same for
    all images, so it disappears in the statistics; the factor goes into epsilon.
    """

    def __init__(self, path):
        file = np.load(path)
        self.weights = [file[f"w{i}"] for i in LAYERS]
        self.norms = [
            (
                torch.from_numpy(file[f"gamma{i}"]).double(),
                torch.from_numpy(file[f"beta{i}"]).double(),
                EPS / INPUT_SCALE**2 if i == 1 else EPS,
            )
            for i in LAYERS
        ]

    def member(self, law, user, member):
        """The weights of a member with the specified random words."""
        return [
            sampler.sample(w, LAWS[law], BITS, SHARE, user, layer, member)
            for layer, w in zip(LAYERS, self.weights)
        ]

    def ideal(self, law, seed, user, member):
        """The weights of a member with a word of its own for each of them."""
        drawn = []
        for layer, w in zip(LAYERS, self.weights):
            u = np.random.default_rng([seed, user, layer, member]).integers(
                0, 1 << BITS, w.shape, dtype=np.int32
            )
            if law == "ternary":
                drawn.append(sampler.draw_adder(sampler.quantise_ternary(w, BITS), u, BITS))
            else:
                drawn.append(sampler.draw_binary(sampler.quantise_binary(w, BITS), u))
        return drawn

    def nearest(self, law):
        """The weights rounded to the nearest number that the law can draw."""
        if law == "ternary":
            return [sampler.quantise_ternary(w, 0) for w in self.weights]
        return [np.where(w >= 0, 1, -1) for w in self.weights]


class Statistics:
    """Mean and variance of each column over the calibration images of any members."""

    def __init__(self):
        self.count, self.total, self.squares = 0, 0, 0

    def add(self, sums):
        sums = sums[:CALIBRATION].double()
        self.count += len(sums)
        self.total = self.total + sums.sum(0)
        self.squares = self.squares + (sums * sums).sum(0)
        return self

    def moments(self):
        """Mean and (population) variance."""
        mean = self.total / self.count
        return mean, self.squares / self.count - mean * mean

    def batch_norm(self, gamma, beta, eps):
        """Factor and offset of the batch-norm with these statistics."""
        mean, variance = self.moments()
        factor = gamma / torch.sqrt(variance + eps)
        return factor, beta - factor * mean


def propagate(x, members, norms, shared=False):
    """Sums of the last layer [members, images, outputs], and statistics of each layer.

    x holds the calibration images first; members are lists of weights, one a layer.
    Statistics are a list with one entry for each member, or with one for all where they
    share it, as they always do in the last layer.
    """
    members = [[torch.from_numpy(w.astype(np.float32)) for w in m] for m in members]
    inputs = [x] * len(members)
    statistics = []

    def sums(layer, member):
        return inputs[member].float() @ members[member][layer].t()

    def common(layer):
        found = Statistics()
        for m in range(len(members)):
            found.add(sums(layer, m))
        return found

    def activate(z, factor, offset):
        return (z * factor + offset >= 0).to(torch.int8) * 2 - 1

    last = len(norms) - 1
    for layer in range(last):
        found = [common(layer)] if shared else []
        outputs = []
        for m in range(len(members)):
            z = sums(layer, m)
            if not shared:
                found.append(Statistics().add(z))
            outputs.append(activate(z, *found[-1].batch_norm(*norms[layer])))
        inputs = outputs
        statistics.append(found)
    statistics.append([common(last)])
    return torch.stack([sums(last, m) for m in range(len(members))]), statistics


def wrong(sums, norm, truth):
    """Which evaluated images an ensemble of these members gets wrong."""
    factor, offset = norm
    mean = sums[:, CALIBRATION:].double().mean(0)
    return (mean * factor + offset).argmax(1) != truth


def mistakes_of(x, weights, norms, truth):
    """Which evaluated images a single network gets wrong."""
    sums, statistics = propagate(x, [weights], norms)
    return wrong(sums, statistics[-1][0].batch_norm(*norms[-1]), truth)


def percent(mistakes):
    return 100 * mistakes.double().mean().item()


def ensembles(x, members, norms, truth, shared=False):
    """Errors {M: [of members 0..M-1, of the next M, ...]}, mistakes of the first JUDGED."""
    sums, statistics = propagate(x, members, norms, shared)
    norm = statistics[-1][0].batch_norm(*norms[-1])
    errors = {
        size: [
            percent(wrong(sums[k : k + size], norm, truth)) for k in range(0, len(sums), size)
        ]
        for size in SIZES
    }
    return errors, wrong(sums[:JUDGED], norm, truth)


def load(folder, part):
    """The calibration images followed by those to evaluate, and the labels of these."""
    images, labels = load_training_set(folder)
    calibration = images[:CALIBRATION]
    if part == "test":
        folder = pathlib.Path(folder)
        images = load_images(folder / "t10k-images-idx3-ubyte.gz")
        labels = load_labels(folder / "t10k-labels-idx1-ubyte.gz")
    else:
        images, labels = images[-VALIDATION:], labels[-VALIDATION:]
    x = np.concatenate([calibration, images]).astype(np.float32) - ZERO
    return torch.from_numpy(x), torch.from_numpy(labels.astype(np.int64))


def run(args):
    torch.set_num_threads(args.threads)
    x, truth = load(args.data, args.set)
    net = Net(args.net)
    out = open(args.out, "w")

    def record(**fields):
        fields = {"set": args.set, "trained": args.trained, "seed": args.seed, **fields}
        out.write(json.dumps(fields) + "\n")
        out.flush()

    base = mistakes_of(x, net.weights, net.norms, truth)
    record(way="base", error=percent(base))
    laws = ("ternary", "binary") if args.trained == "ternary" else ("binary",)
    for law in laws:
        mistakes = mistakes_of(x, net.nearest(law), net.norms, truth)
        record(way="nearest", law=law, error=percent(mistakes))

    def ensemble(members, shared, **fields):
        errors, mistakes = ensembles(x, members, net.norms, truth, shared)
        wins, losses = (base & ~mistakes).sum().item(), (~base & mistakes).sum().item()
        thresholds = "shared" if shared else "member"
        record(**fields, thresholds=thresholds, errors=errors, wins=wins, losses=losses)

    for law in laws:
        members = [net.member(law, USER, m) for m in range(MEMBERS)]
        for shared in (False, True):
            ensemble(members, shared, way="words", law=law, user=USER)
    for user in args.users:
        members = [net.ideal(args.trained, args.seed, user, m) for m in range(MEMBERS)]
        ensemble(members, False, way="ideal", law=args.trained, user=user)
        if user != USER:
            members = [net.member(args.trained, user, m) for m in range(MEMBERS)]
            ensemble(members, False, way="words", law=args.trained, user=user)


def tail(t, freedom):
    """Probability (both sides) that Student's |T| is more than t."""
    angle = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angle) ** (freedom - 1)
    area = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return float(1 - np.interp(np.arctan(t / np.sqrt(freedom)), angle, area / area[-1]))


def quantile(freedom):
    """The t that |T| exceeds with probability 1 - CONFIDENCE."""
    low, high = 0.0, 100.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, freedom) > 1 - CONFIDENCE else (low, middle)
    return low


def interval(values):
    """Mean and half the width of its confidence interval (nan for a single value)."""
    values = np.asarray(values, float).ravel()
    if len(values) < 2:
        return values.mean(), float("nan")
    error = values.std(ddof=1) / np.sqrt(len(values))
    return values.mean(), quantile(len(values) - 1) * error


def table(args):
    lines = [json.loads(line) for path in args.files for line in open(path)]
    if len({line["set"] for line in lines}) != 1:
        raise SystemExit("the files are of different sets")

    def find(trained, way, user=USER, **fields):
        """{training seed: line} of the networks that were used so."""
        wanted = {"trained": trained, "way": way, **fields}
        if way in ("words", "ideal"):
            wanted["user"] = user
        found = [line for line in lines if all(line.get(k) == v for k, v in wanted.items())]
        return {line["seed"]: line for line in sorted(found, key=lambda line: line["seed"])}

    def spread(values):
        values = np.asarray(values)
        if len(values) < 2:
            return f"{values.mean():.3f}"
        return f"{values.mean():.3f} ± {values.std(ddof=1) / np.sqrt(len(values)):.3f}"

    print(f"{lines[0]['set']} error in %, mean ± standard error over training seeds\n")
    print("| trained | weights | error |\n|---|---|---|")
    for trained in ("ternary", "binary"):
        for name, way, fields in (
            ("real (base)", "base", {}),
            ("nearest ternary", "nearest", {"law": "ternary"}),
            ("sign", "nearest", {"law": "binary"}),
        ):
            found = find(trained, way, **fields)
            if found:
                print(f"| {trained} | {name} | {spread([r['error'] for r in found.values()])} |")

    kinds = [
        (trained, law, thresholds)
        for trained, law in (("ternary", "ternary"), ("ternary", "binary"), ("binary", "binary"))
        for thresholds in ("member", "shared")
        if find(trained, "words", law=law, thresholds=thresholds)
    ]
    head = " | ".join(f"M={size}" for size in SIZES)
    for title, pick in (
        ("Members 0 to M-1:", lambda errors: errors[0]),
        (f"Mean over disjoint groups of M of the {MEMBERS} members:", np.mean),
    ):
        print(f"\n{title}\n\n| trained | drawn | thresholds | {head} |")
        print("|---" * (3 + len(SIZES)) + "|")
        for trained, law, thresholds in kinds:
            found = find(trained, "words", law=law, thresholds=thresholds)
            cells = [
                spread([pick(r["errors"][str(size)]) for r in found.values()]) for size in SIZES
            ]
            print(f"| {trained} | {law} | {thresholds} | " + " | ".join(cells) + " |")

    print(
        f"\nMembers 0 to {JUDGED - 1} minus the base with real weights, with the 95 % interval of "
        "Student's t over training seeds; images won and lost, all networks together:\n"
    )
    print("| trained | drawn | thresholds | difference | t | p | better in | wins : losses |")
    print("|---" * 8 + "|")
    for trained, law, thresholds in kinds:
        found = find(trained, "words", law=law, thresholds=thresholds)
        base = find(trained, "base")
        gain = np.array([r["errors"][str(JUDGED)][0] - base[s]["error"] for s, r in found.items()])
        if len(gain) < 2:
            continue
        mean, half = interval(gain)
        t = mean / (gain.std(ddof=1) / np.sqrt(len(gain)))
        wins, losses = (sum(r[k] for r in found.values()) for k in ("wins", "losses"))
        print(
            f"| {trained} | {law} | {thresholds} | {mean:+.3f} ± {half:.3f} | {t:.2f} | "
            f"{tail(abs(t), len(gain) - 1):.4f} | {(gain < 0).sum()} of {len(gain)} | "
            f"{wins} : {losses} |"
        )

    users = sorted({line["user"] for line in lines if line["way"] == "ideal"})
    if users:
        print(
            f"\nSpecified words and ideal randomness, user seeds {users}, per-member thresholds, "
            "mean over disjoint groups of members; differences with 95 % intervals:\n"
        )
        print("| | " + " | ".join(f"M={size}" for size in (1, 4, 16)) + " |\n|---|---|---|---|")
        rows = {}
        for way in ("words", "ideal"):
            for size in (1, 4, 16):
                found = [find("ternary", way, u, thresholds="member", law="ternary") for u in users]
                rows[way, size] = np.array(
                    [[np.mean(r["errors"][str(size)]) for r in f.values()] for f in found]
                ).T  # [network, user seed]
        for way, name in (("words", "specified"), ("ideal", "ideal")):
            cells = [f"{rows[way, size].mean():.3f}" for size in (1, 4, 16)]
            print(f"| {name} | " + " | ".join(cells) + " |")
        for name, reduce in (
            ("difference, all pairs", np.ravel),
            ("difference, means of networks", lambda d: d.mean(1)),
            ("difference, means of user seeds", lambda d: d.mean(0)),
        ):
            cells = []
            for size in (1, 4, 16):
                mean, half = interval(reduce(rows["words", size] - rows["ideal", size]))
                cells.append(f"{mean:+.3f} ± {half:.3f}")
            print(f"| {name} | " + " | ".join(cells) + " |")

    print(f"\nEach network, members 0 to {JUDGED - 1}, per-member thresholds:\n")
    print(f"| trained | seed | base | M={JUDGED} | M={JUDGED}, all groups and user seeds |")
    print("|---|---|---|---|---|")
    for trained in ("ternary", "binary"):
        for seed, r in find(trained, "words", law=trained, thresholds="member").items():
            every = [
                e
                for line in lines
                if (line["trained"], line["way"], line["seed"]) == (trained, "words", seed)
                and (line["law"], line["thresholds"]) == (trained, "member")
                for e in line["errors"][str(JUDGED)]
            ]
            print(
                f"| {trained} | {seed} | {find(trained, 'base')[seed]['error']:.2f} | "
                f"{r['errors'][str(JUDGED)][0]:.2f} | {np.mean(every):.3f} |"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run", help="evaluate one network")
    command.add_argument("--data", required=True, help="folder with the MNIST .gz files")
    command.add_argument("--set", choices=("validation", "test"), default="validation")
    command.add_argument("--net", required=True, help="the .npz file of train.py")
    command.add_argument("--trained", choices=tuple(LAWS), default="ternary",
                         help="law of training")
    command.add_argument("--seed", type=int, required=True, help="training seed, recorded")
    command.add_argument("--users", type=int, nargs="*", default=[],
                         help="user seeds to hold against ideal randomness")
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--out", required=True, help="the JSON lines to write")
    command.set_defaults(function=run)
    command = commands.add_parser("table", help="make the tables")
    command.add_argument("files", nargs="+", help="JSON lines of `run`")
    command.set_defaults(function=table)
    args = parser.parse_args()
    args.function(args)


if __name__ == "__main__":
    main()
