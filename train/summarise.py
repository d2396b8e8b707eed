#!/usr/bin/env python3
"""Tables (markdown) from the JSON lines of experiment.py."""

import argparse
import json
import sys

import numpy as np

SIZES = ("M1", "M4", "M16")


def load(paths):
    """{(form, B, G): {(net, user): result}}, and the base networks {net: result}."""
    cells, base = {}, {}
    for path in paths:
        for line in open(path):
            r = json.loads(line)
            if r["form"] == "base":
                base[r["net"]] = r
            else:
                cells.setdefault((r["form"], r["B"], r["G"]), {})[r["net"], r["user"]] = r
    return cells, base


def value(cell, key):
    """Mean over the disjoint groups of members in one (network, user seed)."""
    return float(np.mean(cell[key]))


def grid(cells, config, key, nets, users):
    return np.array([[value(cells[config][n, u], key) for u in users] for n in nets])


def spread(g):
    """Mean, standard error from user seeds (networks fixed), from network means."""
    n, u = g.shape
    within = np.sqrt(g.var(1, ddof=1).mean() / (n * u))
    between = g.mean(1).std(ddof=1) / np.sqrt(n)
    return g.mean(), within, between


def number(x, sign=False):
    text = f"{x:+.3f}" if sign else f"{x:.3f}"
    return text.replace("0.", ".", 1) if sign else text


def cell(g):
    mean, within, between = spread(g)
    return f"{mean:.3f} ±{within:.3f} ({between:.3f})".replace("±0", "±").replace("(0", "(")


def difference(g):
    """Mean of a paired difference and its error over all (network, user seed) cells."""
    se = g.std(ddof=1) / np.sqrt(g.size)
    return f"{number(g.mean(), True)} ±{se:.3f}".replace("±0", "±")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+")
    cells, base = load(parser.parse_args().files)
    some = next(iter(cells.values()))
    nets = sorted({n for n, _ in some})
    users = sorted({u for _, u in some})
    print(f"networks {nets}, user seeds {users}", file=sys.stderr)
    configs = sorted(cells, key=lambda c: (("ideal", "adder", "magnitude").index(c[0]), c[1], c[2]))
    for c in configs:
        assert sorted(cells[c]) == [(n, u) for n in nets for u in users], c

    own = np.array([base[n]["own"] for n in nets])
    stored = np.array([base[n]["stored"] for n in nets])
    print("| form | B | G | M=1 | M=4 | M=16 |\n|---|---|---|---|---|---|")
    for name, v in (("base, real weights, own statistics", own),
                    ("base, real weights, statistics of training", stored)):
        se = v.std(ddof=1) / np.sqrt(len(v))
        print(f"| {name} | - | - | {v.mean():.3f} (.{se * 1000:03.0f}) | | |")
    for c in configs:
        form, b, g = c
        row = [cell(grid(cells, c, k, nets, users)) for k in SIZES]
        print(f"| {form} | {b} | {g or 'own'} | " + " | ".join(row) + " |")
        if c == ("adder", 1, 64):
            row = [row[0]] + [cell(grid(cells, c, k, nets, users)) for k in ("raw4", "raw16")]
            print(f"| {form}, raw sums, one batch-norm | {b} | {g} | " + " | ".join(row) + " |")

    print("\nPer network (mean over user seeds):\n")
    print("| | " + " | ".join(f"net {n}" for n in nets) + " |\n|---" * 1 + "|---" * len(nets) + "|")
    print("| base, own statistics | " + " | ".join(f"{v:.2f}" for v in own) + " |")
    for c in [("ideal", 8, 0), ("ideal", 1, 0), ("adder", 1, 64), ("adder", 8, 64), ("magnitude", 8, 64)]:
        v = grid(cells, c, "M16", nets, users).mean(1)
        print(f"| {c[0]} B={c[1]} G={c[2] or 'own'} M=16 | " + " | ".join(f"{x:.3f}" for x in v) + " |")

    def table(title, rows):
        print(f"\n{title}\n\n| | M=1 | M=4 | M=16 |\n|---|---|---|---|")
        for name, plus, minus in rows:
            out = []
            for k in SIZES:
                d = sum(grid(cells, c, k, nets, users) for c in plus) / len(plus)
                d = d - sum(grid(cells, c, k, nets, users) for c in minus) / len(minus)
                out.append(difference(d))
            print(f"| {name} | " + " | ".join(out) + " |")

    bs, gs = (1, 2, 4, 8), (1, 8, 64, 256)
    rows = [(f"adder B={b} G={g}", [("adder", b, g)], [("ideal", b, 0)]) for b in bs for g in gs]
    rows += [(f"magnitude B={b} G={g}", [("magnitude", b, g)], [("ideal", b, 0)])
             for b in bs for g in (64, 256)]
    rows += [(f"adder, mean over B, G={g}", [("adder", b, g) for b in bs],
              [("ideal", b, 0) for b in bs]) for g in gs]
    rows += [(f"magnitude, mean over B, G={g}", [("magnitude", b, g) for b in bs],
              [("ideal", b, 0) for b in bs]) for g in (64, 256)]
    table("Against ideal randomness of the same B:", rows)
    rows = [(f"B={b} G={g}", [("magnitude", b, g)], [("adder", b, g)]) for g in (64, 256) for b in bs]
    rows += [(f"mean over B, G={g}", [("magnitude", b, g) for b in bs],
              [("adder", b, g) for b in bs]) for g in (64, 256)]
    table("Magnitude form minus adder form:", rows)
    rows = [(f"ideal, B={b} - B=8", [("ideal", b, 0)], [("ideal", 8, 0)]) for b in bs[:3]]
    rows += [(f"adder G=64, B={b} - B=8", [("adder", b, 64)], [("adder", 8, 64)]) for b in bs[:3]]
    rows += [(f"ideal and adder G=1, 8, 64, B={b} - B=8",
              [("ideal", b, 0)] + [("adder", b, g) for g in gs[:3]],
              [("ideal", 8, 0)] + [("adder", 8, g) for g in gs[:3]]) for b in bs[:3]]
    table("B against 8:", rows)

    print("\nRaw sums over members with one batch-norm, minus the mean of the members' outputs:\n")
    print("| | M=4 | M=16 |\n|---|---|---|")
    for c in [("adder", b, 64) for b in bs]:
        out = [difference(grid(cells, c, f"raw{m}", nets, users) - grid(cells, c, f"M{m}", nets, users))
               for m in (4, 16)]
        print(f"| adder B={c[1]} G=64 | " + " | ".join(out) + " |")


if __name__ == "__main__":
    main()
