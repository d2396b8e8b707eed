"""Checks of sampler.py against the specification written out bit by bit."""

import numpy as np

import sampler


def serial(state, count):
    """The stream, one bit at a time."""
    b = [state >> (63 - i) & 1 for i in range(64)]
    for t in range(64, 64 + count):
        b.append(b[t - 64] ^ b[t - 63] ^ b[t - 61] ^ b[t - 60])
    return b[64:]


def word(b, row, col, cols, bits, share):
    """The random word of one weight."""
    u = 0
    for k in range(bits):
        u = u << 1 | b[((row // share) * cols + col) * bits + k]
    return u


def main():
    assert sampler.mix(0) == 0xE220A8397B1DCDAF  # first output of SplitMix64, seed 0
    assert sampler.mix(0x9E3779B97F4A7C15) == 0x6E789E6AA1B965F4  # and the second
    for user in range(3):
        state = sampler.seed(user, 2, 5)
        assert sampler.stream(state, 1234).tolist() == serial(state, 1234)

    rng = np.random.default_rng(0)
    rows, cols = 10, 37
    for bits in (1, 2, 3, 4, 8):
        one = 1 << bits
        w = rng.uniform(-1.2, 1.2, (rows, cols)).astype(np.float32)
        w[0, :7] = -1, 1, 0, 0.5, -0.5, 0.25, -0.25
        for share in (1, 3, 8, 64):
            b = serial(sampler.seed(7, 1, 3), sampler.bits_needed(rows, cols, bits, share))
            got = {
                law: sampler.sample(w, law, bits, share, 7, 1, 3)
                for law in ("binary", "adder", "magnitude")
            }
            for r in range(rows):
                for c in range(cols):
                    x = float(w[r, c])
                    u = word(b, r, c, cols, bits, share)
                    p = min(max(int((x + 1) / 2 * one + 0.5), 0), one) if x > -1 else 0
                    a = min(int(abs(x) * one + 0.5), one)
                    s = -1 if x < 0 else 1
                    assert got["binary"][r, c] == (1 if u < p else -1)
                    assert got["adder"][r, c] == (s * a + u) // one
                    assert got["magnitude"][r, c] == (s if u < a else 0)

        # Both ternary forms have the same law: over all words, |W| of 2^B are not 0.
        q = sampler.quantise_ternary(w, bits)
        every = np.arange(one)[:, None, None]
        assert (sampler.draw_adder(q, every, bits).sum(0, dtype=int) == q).all()
        assert (sampler.draw_magnitude(q, every).sum(0, dtype=int) == q).all()
    print("ok; seed(0, 1, 0) =", hex(sampler.seed(0, 1, 0)))


if __name__ == "__main__":
    main()
