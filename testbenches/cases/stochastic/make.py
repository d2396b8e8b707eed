"""Writes vectors.json, the test vectors of stochastic weights.

This follows the text of src/guide/stochastic.md and nothing else: it is a second implementation, by whose agreement the
first one and the text are tested. So it is slow and literal: one bit at a time, every index by its formula, and every
real number as a fraction, so that no rounding but the specified one takes place.

Run it with Python 3; it takes no arguments and needs no packages.
"""

import json
import random
import struct
from fractions import Fraction
from math import floor
from pathlib import Path

MASK = 2**64 - 1


# What the text says.


def sequence(seed, count):
    """The bits b[0] .. b[count-1] after a seed."""
    b = {i - 64: seed >> (63 - i) & 1 for i in range(64)}
    for t in range(count):
        b[t] = b[t - 64] ^ b[t - 63] ^ b[t - 61] ^ b[t - 60]
    return [b[t] for t in range(count)]


def mix(x):
    """The output function of SplitMix64."""
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
    return z ^ (z >> 31)


def seed_of(user, layer, member):
    """The seed of a layer's member."""
    return mix(mix(mix(user) ^ layer) ^ member) or 1


def code(law, bits, weight):
    """The integer stored for a weight, a Fraction."""
    w = min(max(weight, Fraction(-1)), Fraction(1))
    half = Fraction(1, 2)
    if law == "binary":
        return floor((w + 1) / 2 * 2**bits + half)
    sign = (w > 0) - (w < 0)
    return sign * floor(abs(w) * 2**bits + half)


def draw(law, bits, stored, u):
    """The weight drawn from a stored integer by the number u."""
    if law == "binary":
        return 1 if u < stored else -1
    return floor(Fraction(stored + u, 2**bits))


def member(law, bits, share, seed, weights):
    """The matrix drawn from rows of weights."""
    columns = len(weights[0])
    b = sequence(seed, len(weights) * columns * bits)
    drawn = []
    for r, row in enumerate(weights):
        drawn.append([])
        for c, weight in enumerate(row):
            u = 0
            for k in range(bits):
                u = 2 * u + b[((r // share) * columns + c) * bits + k]
            drawn[r].append(draw(law, bits, code(law, bits, Fraction(weight)), u))
    return drawn


# The cases. Weights are float32 values: each is written in decimals that give it again, read as float32 or as float64.


def float32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def neighbours(x):
    """The float32 values next to one other than 0: the smaller and the larger in magnitude."""
    (pattern,) = struct.unpack("<I", struct.pack("<f", x))
    return [struct.unpack("<f", struct.pack("<I", pattern + d))[0] for d in (-1, 1)]


def digits(bits):
    """Bits as hexadecimal digits, the first bit the most significant."""
    return f"{int(''.join(map(str, bits)), 2):0{len(bits) // 4}x}"


def signs(weights):
    return "".join("-0+"[w + 1] for w in weights)


def sequences():
    far = 100_000
    for seed in [1, 2, 2**63, MASK, 0x0123456789ABCDEF, 0xAAAAAAAAAAAAAAAA, 0x5775264A9A7E1B09]:
        b = sequence(seed, far + 64)
        yield {"seed": f"{seed:016x}", "start": 0, "bits": digits(b[:256])}
        yield {"seed": f"{seed:016x}", "start": 999, "bits": digits(b[999 : 999 + 64])}
        yield {"seed": f"{seed:016x}", "start": far, "bits": digits(b[far:])}


def seeds():
    for user in [0, 1, 2, 1234, 0xDEADBEEFCAFEF00D, 2**63, MASK]:
        for layer, of in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 3), (3, 2), (17, 63), (300, 1023), (65536, 65536)]:
            yield {
                "user": f"{user:016x}",
                "layer": layer,
                "member": of,
                "seed": f"{seed_of(user, layer, of):016x}",
            }


def codes():
    generator = random.Random(1)
    spread = [float32(generator.getrandbits(24) / 2**23 - 1) for _ in range(16)]
    decimals = [float32(x) for x in (0.1, 0.2, 1 / 3, 0.7, 0.9, 0.999, 0.001)]
    tiny = [2.0**-149, 2.0**-126, float32(1e-30), float32(1e-10), 2.0**-25, 2.0**-24, 2.0**-17]
    beyond = [float32(x) for x in (1.0000001, 1.5, 2, 1e10)] + [(2 - 2.0**-23) * 2.0**127]
    for law in ["binary", "ternary"]:
        for bits in [1, 2, 3, 4, 8, 15, 16]:
            weights = [0.0, -0.0, 1.0, -1.0]
            for x in spread:
                weights.append(x)
            for x in decimals + tiny + beyond + neighbours(1.0)[:1]:
                weights += [x, -x]
            # Ties of either law, at several places of the range, and the values next to them.
            for odd in sorted({1, 3, 2**bits - 1, 2**bits + 1, 2 ** (bits + 1) - 1}):
                for tie in [odd / 2**bits - 1, odd / 2 ** (bits + 1)]:
                    if 0 < abs(tie) <= 1:
                        for x in [tie, *neighbours(tie)]:
                            weights += [x, -x]
            assert all(float32(x) == x for x in weights)
            weights = list(dict.fromkeys(map(repr, weights)))
            stored = [code(law, bits, Fraction(float(x))) for x in weights]
            yield {"law": law, "bits": bits, "weights": list(map(float, weights)), "codes": stored}


def draws():
    for law in ["binary", "ternary"]:
        for bits in [1, 2, 3, 4, 8, 16]:
            top = 2**bits
            numbers = range(top)
            stored = range(0 if law == "binary" else -top, top + 1)
            if bits > 4:
                near = {0, 1, 2, top // 3, top // 2, top // 2 + 1, top - 2, top - 1}
                numbers = sorted(near)
                stored = sorted(x for n in near | {top} for x in {n, -n} if x in stored)
            for s in stored:
                drawn = signs(draw(law, bits, s, u) for u in numbers)
                yield {"law": law, "bits": bits, "code": s, "u": list(numbers), "drawn": drawn}


def members():
    generator = random.Random(2)
    cases = [
        # rows, columns, bits, share, user, layer, member
        (1, 1, 1, 1, 1, 1, 0),
        (3, 5, 1, 1, 1, 1, 0),
        (3, 5, 1, 1, 1, 1, 1),
        (3, 5, 1, 1, 1, 2, 0),
        (4, 7, 2, 2, 0, 0, 0),
        (5, 7, 2, 2, MASK, 3, 9),
        (7, 3, 3, 4, 12, 1, 2),
        (4, 6, 4, 9, 13, 4, 31),
        (6, 4, 4, 6, 14, 4, 31),
        (9, 13, 5, 4, 2**63, 5, 7),
        (5, 33, 8, 1, 99, 6, 255),
        (10, 8, 8, 3, 100, 7, 1),
        (2, 65, 1, 64, 5, 2, 3),
        (3, 70, 1, 1, 6, 2, 3),
        (8, 9, 7, 64, 7, 2, 3),
        (4, 21, 13, 2, 8, 11, 12),
        (3, 17, 16, 1, 9, 1, 1),
        (5, 19, 16, 2, 0xDEADBEEFCAFEF00D, 10, 100),
    ]
    for law in ["binary", "ternary"]:
        for rows, columns, bits, share, user, layer, of in cases:
            # Four in five lie within -1 .. 1, the others beyond.
            weights = [
                [float32((generator.getrandbits(16) - 2**15) / 2**15 * 1.25) for _ in range(columns)]
                for _ in range(rows)
            ]
            drawn = member(law, bits, share, seed_of(user, layer, of), weights)
            yield {
                "law": law,
                "bits": bits,
                "share": share,
                "user": f"{user:016x}",
                "layer": layer,
                "member": of,
                "weights": weights,
                "drawn": list(map(signs, drawn)),
            }


def main():
    lists = {"sequences": sequences, "seeds": seeds, "codes": codes, "draws": draws, "members": members}
    parts = []
    for name, cases in lists.items():
        lines = ",\n".join("    " + json.dumps(case, allow_nan=False) for case in cases())
        parts.append(f'  "{name}": [\n{lines}\n  ]')
    text = "{\n" + ",\n".join(parts) + "\n}\n"
    json.loads(text)
    Path(__file__).with_name("vectors.json").write_text(text)


main()
