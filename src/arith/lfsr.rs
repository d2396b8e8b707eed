//! The pseudo-random generator of stochastic rounding: a 64-bit LFSR with taps 64, 63, 61 and 60, read serially.
//!
//! [`guide::stochastic`](crate::guide::stochastic) is the specification.

/// Number of bits that one step of [`Bits`] computes in parallel: none of them depends on another.
const AT_ONCE: u32 = 60;

/// The endless bit sequence b\[0\], b\[1\], ... of a seed.
#[derive(Debug, Clone)]
pub struct Bits {
    /// b\[t-64\] .. b\[t-1\], earliest bit most significant. t is the bit after the next `left` bits.
    state: u64,
    left: u32,
}

/// The next [`AT_ONCE`] bits after `state`, in the most significant bits, the first one highest. The remaining low bits are not
/// part of the sequence.
fn ahead(state: u64) -> u64 {
    state ^ state << 1 ^ state << 3 ^ state << 4
}

impl Bits {
    /// The sequence of a seed: bit 63 of the seed is b\[-64\], bit 0 is b\[-1\]. Seed 0 gives zeros only.
    pub fn new(seed: u64) -> Self {
        Self { state: seed, left: 0 }
    }

    /// The next `count` bits, at most 32, as a number; the first bit is the most significant.
    pub fn number(&mut self, count: u32) -> u32 {
        assert!(count <= 32, "{count} bits");
        let mut number = 0;
        let mut wanted = count;
        while wanted > 0 {
            if self.left == 0 {
                self.state = self.state << AT_ONCE | ahead(self.state) >> (64 - AT_ONCE);
                self.left = AT_ONCE;
            }
            let taken = wanted.min(self.left);
            self.left -= taken;
            wanted -= taken;
            let part = self.state >> self.left & ((1 << taken) - 1);
            number = number << taken | part;
        }
        number as u32
    }

    /// Skips `count` bits.
    pub fn skip_bits(&mut self, mut count: u64) {
        while count > 0 {
            let taken = count.min(32) as u32;
            self.number(taken);
            count -= u64::from(taken);
        }
    }
}

impl Iterator for Bits {
    type Item = bool;

    fn next(&mut self) -> Option<bool> {
        Some(self.number(1) == 1)
    }
}

/// SplitMix64's output function, applied to `x` plus the increment.
fn mix(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The seed of a member (from 0) of layer number `layer`, derived from the user's seed. Never 0.
pub fn seed(user: u64, layer: u64, member: u64) -> u64 {
    mix(mix(mix(user) ^ layer) ^ member).max(1)
}

/// The `count` bits before bit `at` of a seed's sequence, earliest first: b\[at - count\] .. b\[at - 1\].
///
/// Bits before the seed continue the recurrence backwards, so any part of the sequence follows from the bits before it.
pub fn before(seed: u64, at: u64, count: usize) -> Vec<bool> {
    let missing = (count as u64).saturating_sub(64 + at);
    let mut state = seed;
    let mut bits: Vec<bool> = (0..missing)
        .map(|_| {
            // b[t-64] = b[t] ^ b[t-63] ^ b[t-61] ^ b[t-60], with b[t] the last bit of the state.
            let earlier = (state ^ state >> 63 ^ state >> 61 ^ state >> 60) & 1;
            state = state >> 1 | earlier << 63;
            earlier == 1
        })
        .collect();
    bits.reverse();
    bits.extend((0..64).rev().map(|i| seed >> i & 1 == 1));
    bits.extend(Bits::new(seed).take(at as usize));
    bits.split_off(bits.len() - count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One bit at a time, as the specification writes it.
    fn serial(seed: u64, count: usize) -> Vec<bool> {
        let mut b: Vec<bool> = (0..64).rev().map(|i| seed >> i & 1 == 1).collect();
        for t in 64..64 + count {
            b.push(b[t - 64] ^ b[t - 63] ^ b[t - 61] ^ b[t - 60]);
        }
        b.split_off(64)
    }

    #[test]
    fn sixty_bits_at_once_are_those_one_by_one() {
        for s in [1, u64::MAX, seed(1, 2, 3), 1 << 63] {
            assert_eq!(Bits::new(s).take(500).collect::<Vec<_>>(), serial(s, 500));
            let mut numbers = Bits::new(s);
            let wanted = serial(s, 7 * 100);
            for chunk in wanted.chunks(7) {
                assert_eq!(numbers.number(7), chunk.iter().fold(0, |n, b| n << 1 | u32::from(*b)));
            }
            let mut skipped = Bits::new(s);
            skipped.skip_bits(333);
            assert_eq!(skipped.take(50).collect::<Vec<_>>(), serial(s, 383)[333..]);
        }
    }

    #[test]
    fn what_is_before_a_bit_leads_to_it() {
        let s = seed(5, 1, 0);
        for (at, count) in [(0, 64), (0, 256), (10, 64), (700, 512), (3, 5)] {
            let bits = before(s, at, count);
            assert_eq!(bits.len(), count);
            if count < 64 {
                continue;
            }
            let from_there =
                |from: usize| bits[from..from + 64].iter().fold(0, |n, b| n << 1 | u64::from(*b));
            // Whatever 64 bits of it are taken for a seed, the rest and the sequence follow.
            for from in [0, count - 64] {
                let rest: Vec<bool> = Bits::new(from_there(from)).take(count - 64 - from + 40).collect();
                let mut wanted = bits[from + 64..].to_vec();
                wanted.extend(&serial(s, at as usize + 40)[at as usize..]);
                assert_eq!(rest, wanted, "{at}, {count}");
            }
        }
    }

    /// The order of the LFSR's matrix is 2^64 - 1: the polynomial is primitive.
    #[test]
    fn the_period_is_the_longest() {
        // Column i of A^n: the state that the unit state i is in after n steps. A^(2^64 - 1) = 1, and no proper divisor does.
        let columns: Vec<u64> = (0..64).map(|i| step(1u64 << i)).collect();
        let apply = |m: &[u64], s: u64| (0..64).filter(|i| s >> i & 1 == 1).fold(0, |sum, i| sum ^ m[i]);
        let product = |a: &[u64], b: &[u64]| -> Vec<u64> { b.iter().map(|c| apply(a, *c)).collect() };
        let identity: Vec<u64> = (0..64).map(|i| 1u64 << i).collect();
        let power = |mut n: u64| {
            let (mut result, mut base) = (identity.clone(), columns.clone());
            while n > 0 {
                if n & 1 == 1 {
                    result = product(&base, &result);
                }
                base = product(&base, &base);
                n >>= 1;
            }
            result
        };
        let primes = [3u64, 5, 17, 257, 641, 65_537, 6_700_417];
        assert_eq!(primes.iter().product::<u64>(), u64::MAX);
        assert_eq!(power(u64::MAX), identity);
        for p in primes {
            assert_ne!(power(u64::MAX / p), identity, "{p}");
        }
    }

    fn step(s: u64) -> u64 {
        s << 1 | (s >> 63 ^ s >> 62 ^ s >> 60 ^ s >> 59) & 1
    }
}
