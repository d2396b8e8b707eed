"""Bitwise networks drawn from real weights with one 64-bit LFSR a layer.

This is the reference of the sampling specification in numpy.  The stream of random
bits depends on (user seed, layer, member); a weight's word depends on its row and
column, the number of bits B a weight and the number of rows G that share words.
"""

import numpy as np

MASK = (1 << 64) - 1
LEAP = 60  # new bits that one step of the 64-bit register gives at once


def mix(x):
    """The output function of SplitMix64, applied to state x."""
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def seed(user, layer, member):
    """Start state of a layer (counted from 1) in a member (counted from 0)."""
    return mix(mix(mix(user & MASK) ^ layer) ^ member) or 1


def stream(state, count):
    """The first `count` bits of b_t = b_(t-64) ^ b_(t-63) ^ b_(t-61) ^ b_(t-60).

    The state holds b_(-64) .. b_(-1), the oldest in bit 63.  Returns uint8 0/1.
    """
    steps = -(-count // LEAP)
    words = np.empty(steps, np.uint64)
    for i in range(steps):
        x = (state ^ (state << 1) ^ (state << 3) ^ (state << 4)) & MASK
        words[i] = x
        state = ((state << LEAP) & MASK) | (x >> (64 - LEAP))
    bits = np.unpackbits(words.astype(">u8").view(np.uint8).reshape(steps, 8), axis=1)
    return bits[:, :LEAP].reshape(-1)[:count]


def bits_needed(rows, cols, bits, share):
    """Length of the stream that a layer uses."""
    return -(-rows // share) * cols * bits


def words(source, rows, cols, bits, share):
    """Random words u [rows, cols] from a stream that is at least long enough.

    Weight (r, c) takes bits ((r // share) * cols + c) * bits + k, k = 0 the most
    significant.
    """
    groups = -(-rows // share)
    used = source[: groups * cols * bits].reshape(groups, cols, bits).astype(np.int32)
    u = np.zeros((groups, cols), np.int32)
    for k in range(bits):
        u = (u << 1) | used[:, :, k]
    return np.repeat(u, share, axis=0)[:rows]


def quantise_binary(w, bits):
    """P = (w + 1)/2 * 2^B to nearest, half up, clipped to 0 .. 2^B."""
    one = 1 << bits
    p = np.floor((w.astype(np.float64) + 1) * (one / 2) + 0.5)
    return np.clip(p, 0, one).astype(np.int32)


def quantise_ternary(w, bits):
    """W = sign(w) * (|w| * 2^B to nearest, half up), clipped to -2^B .. 2^B."""
    one = 1 << bits
    w = w.astype(np.float64)
    return (np.sign(w) * np.minimum(np.floor(np.abs(w) * one + 0.5), one)).astype(np.int32)


def draw_binary(p, u):
    """+1 where u < P, else -1."""
    return np.where(u < p, 1, -1).astype(np.int8)


def draw_adder(w, u, bits):
    """Ternary, adder form: floor((W + u) / 2^B)."""
    return ((w + u) >> bits).astype(np.int8)


def draw_magnitude(w, u):
    """Ternary, magnitude form: sign(W) where u < |W|, else 0."""
    return (np.sign(w) * (u < np.abs(w))).astype(np.int8)


def sample(w, law, bits, share, user, layer, member):
    """Draw one layer of one member; law is "binary", "adder" or "magnitude"."""
    rows, cols = w.shape
    source = stream(seed(user, layer, member), bits_needed(rows, cols, bits, share))
    u = words(source, rows, cols, bits, share)
    if law == "binary":
        return draw_binary(quantise_binary(w, bits), u)
    if law == "adder":
        return draw_adder(quantise_ternary(w, bits), u, bits)
    if law == "magnitude":
        return draw_magnitude(quantise_ternary(w, bits), u)
    raise ValueError(f"unknown law {law!r}")
