//! Covering logic with LUTs: cuts of few leaves for every gate, and of them those that need the fewest LUTs.
//!
//! The method is that of technology mapping with priority cuts (Mishchenko et al. 2007), for area alone: area flow first, then the exact
//! area of what is in use.

use std::collections::HashSet;

use super::logic::{Gate, Logic, Wire};

/// The most inputs of a LUT of any family.
const MOST: usize = 6;
/// Cuts kept for a gate.
const KEPT: usize = 8;
/// Rounds of area flow, then of exact area.
const ROUNDS: [usize; 2] = [3, 2];

/// Gates whose outputs determine another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    leaves: [u32; MOST],
    size: u8,
    signature: u64,
}

impl Cut {
    fn of(gate: usize) -> Self {
        let mut leaves = [0; MOST];
        leaves[0] = gate as u32;
        Self { leaves, size: 1, signature: 1 << (gate % 64) }
    }

    const NONE: Self = Self { leaves: [0; MOST], size: 0, signature: 0 };

    fn leaves(&self) -> &[u32] {
        &self.leaves[..usize::from(self.size)]
    }

    /// The leaves of both, if they are no more than `most`.
    fn merge(&self, other: &Self, most: usize) -> Option<Self> {
        let signature = self.signature | other.signature;
        if signature.count_ones() as usize > most {
            return None;
        }
        let (mut a, mut b) = (self.leaves().iter().peekable(), other.leaves().iter().peekable());
        let (mut leaves, mut size) = ([0; MOST], 0);
        loop {
            let next = match (a.peek(), b.peek()) {
                (None, None) => break,
                (Some(x), Some(y)) if x == y => {
                    b.next();
                    *a.next().expect("peeked")
                }
                (Some(x), Some(y)) if x > y => *b.next().expect("peeked"),
                (None, Some(_)) => *b.next().expect("peeked"),
                _ => *a.next().expect("peeked"),
            };
            if size == most {
                return None;
            }
            leaves[size] = next;
            size += 1;
        }
        Some(Self { leaves, size: size as u8, signature })
    }

    /// Whether all leaves are also the other's.
    fn within(&self, other: &Self) -> bool {
        self.signature & !other.signature == 0
            && self.leaves().iter().all(|leaf| other.leaves().contains(leaf))
    }
}

struct Cover<'a> {
    logic: &'a Logic,
    /// What a LUT costs, by its inputs less 1.
    costs: &'a [u32],
    cuts: Vec<Vec<Cut>>,
    best: Vec<Cut>,
    /// How often the cover reads a gate; in the first round, how often the gates do.
    uses: Vec<u32>,
    flow: Vec<f32>,
}

impl Cover<'_> {
    /// Cuts of the gate, by those of its inputs.
    fn enumerate(&self, gate: usize) -> Vec<Cut> {
        let mut found: Vec<Cut> = vec![Cut::NONE];
        for input in self.logic.gates[gate].inputs() {
            let own = [Cut::of(input)];
            let mut merged: Vec<Cut> = Vec::new();
            for cut in self.cuts[input].iter().chain(&own) {
                for before in &found {
                    let Some(new) = before.merge(cut, self.costs.len()) else { continue };
                    if !merged.iter().any(|other| other.within(&new)) {
                        merged.retain(|other| !new.within(other));
                        merged.push(new);
                    }
                }
            }
            found = merged;
        }
        found
    }

    fn cost(&self, cut: &Cut) -> u32 {
        self.costs[usize::from(cut.size) - 1]
    }

    fn flow_of(&self, cut: &Cut) -> f32 {
        let leaves = cut.leaves().iter().map(|leaf| self.flow[*leaf as usize]);
        self.cost(cut) as f32 + leaves.sum::<f32>()
    }

    /// The cost of the LUTs that come into use, or go out of it, with a cut.
    fn take(&mut self, cut: Cut) -> u32 {
        let mut luts = self.cost(&cut);
        for leaf in cut.leaves().iter().map(|leaf| *leaf as usize) {
            self.uses[leaf] += 1;
            if self.uses[leaf] == 1 && self.logic.gates[leaf] != Gate::Leaf {
                luts += self.take(self.best[leaf]);
            }
        }
        luts
    }

    fn drop(&mut self, cut: Cut) -> u32 {
        let mut luts = self.cost(&cut);
        for leaf in cut.leaves().iter().map(|leaf| *leaf as usize) {
            self.uses[leaf] -= 1;
            if self.uses[leaf] == 0 && self.logic.gates[leaf] != Gate::Leaf {
                luts += self.drop(self.best[leaf]);
            }
        }
        luts
    }

    /// Counts the uses of every gate in the cover of `roots`.
    fn count(&mut self, roots: &[usize]) {
        self.uses.fill(0);
        for root in roots {
            self.uses[*root] += 1;
        }
        for gate in (0..self.logic.gates.len()).rev() {
            if self.uses[gate] > 0 && self.logic.gates[gate] != Gate::Leaf {
                for leaf in self.best[gate].leaves() {
                    self.uses[*leaf as usize] += 1;
                }
            }
        }
    }

    fn round_of_flow(&mut self) {
        for gate in 1..self.logic.gates.len() {
            if self.logic.gates[gate] == Gate::Leaf {
                continue;
            }
            let mut cuts: Vec<(f32, Cut)> =
                self.enumerate(gate).into_iter().map(|cut| (self.flow_of(&cut), cut)).collect();
            cuts.sort_by(|(a, x), (b, y)| a.total_cmp(b).then(x.size.cmp(&y.size)));
            cuts.truncate(KEPT);
            let (flow, best) = cuts[0];
            self.best[gate] = best;
            self.flow[gate] = flow / self.uses[gate].max(1) as f32;
            self.cuts[gate] = cuts.into_iter().map(|(_, cut)| cut).collect();
        }
    }

    fn round_of_area(&mut self) {
        for gate in 1..self.logic.gates.len() {
            if self.logic.gates[gate] == Gate::Leaf || self.uses[gate] == 0 {
                continue;
            }
            self.drop(self.best[gate]);
            let cuts = std::mem::take(&mut self.cuts[gate]);
            let mut best = (u32::MAX, self.best[gate]);
            for cut in &cuts {
                let area = self.take(*cut);
                self.drop(*cut);
                if (area, cut.size) < (best.0, best.1.size) {
                    best = (area, *cut);
                }
            }
            self.cuts[gate] = cuts;
            self.best[gate] = best.1;
            self.take(best.1);
        }
    }
}

/// The number of LUTs of each owner that give the values of `roots`, where a LUT of i inputs costs `costs[i - 1]`. An inverter is a LUT.
pub(super) fn cover(logic: &Logic, roots: &HashSet<Wire>, costs: &[u32], owners: usize) -> Vec<u64> {
    let gates = logic.gates.len();
    let mut cover = Cover {
        logic,
        costs,
        cuts: vec![Vec::new(); gates],
        best: vec![Cut::NONE; gates],
        uses: vec![0; gates],
        flow: vec![0.0; gates],
    };
    for input in logic.gates.iter().flat_map(|gate| gate.inputs()) {
        cover.uses[input] += 1;
    }
    let mut used: Vec<usize> = roots.iter().map(|root| root.gate()).collect();
    used.sort_unstable();
    used.dedup();
    for root in &used {
        cover.uses[*root] += 1;
    }
    for _ in 0..ROUNDS[0] {
        cover.round_of_flow();
        cover.count(&used);
    }
    for _ in 0..ROUNDS[1] {
        cover.round_of_area();
    }
    let mut luts = vec![0; owners];
    for gate in 1..gates {
        if cover.uses[gate] > 0 && logic.gates[gate] != Gate::Leaf {
            luts[logic.owners[gate] as usize] += 1;
        }
    }
    // One phase of a gate is free; the other, and the complement of a leaf, is a LUT.
    for root in roots.iter().filter(|root| root.complemented() && root.constant().is_none()) {
        if logic.gates[root.gate()] == Gate::Leaf || roots.contains(&!*root) {
            luts[logic.owners[root.gate()] as usize] += 1;
        }
    }
    luts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn luts(inputs: usize, build: impl Fn(&mut Logic, Vec<Wire>) -> Vec<Wire>) -> u64 {
        let mut logic = Logic::new();
        let leaves = (0..12).map(|_| logic.leaf()).collect();
        let roots = build(&mut logic, leaves).into_iter().collect();
        cover(&logic, &roots, &[1; 6][..inputs], 1)[0]
    }

    fn parity(logic: &mut Logic, wires: &[Wire]) -> Wire {
        logic.tree(wires.to_vec(), Wire::ZERO, Logic::xor)
    }

    #[test]
    fn functions_of_a_few_wires_are_one_lut() {
        assert_eq!(luts(4, |logic, wires| vec![parity(logic, &wires[..4])]), 1);
        assert_eq!(luts(6, |logic, wires| vec![parity(logic, &wires[..6])]), 1);
        assert_eq!(luts(4, |logic, w| vec![logic.choose(&w[..1], w[1..3].to_vec())]), 1);
    }

    #[test]
    fn trees_need_as_many_luts_as_their_leaves_say() {
        // Every LUT of i inputs takes i - 1 of the 11 wires that have to go.
        assert_eq!(luts(4, |logic, wires| vec![parity(logic, &wires)]), 4);
        assert_eq!(luts(6, |logic, wires| vec![parity(logic, &wires)]), 3);
        // A multiplexer of four words has six inputs.
        assert_eq!(luts(4, |logic, w| vec![logic.choose(&w[..2], w[2..6].to_vec())]), 3);
        assert_eq!(luts(6, |logic, w| vec![logic.choose(&w[..2], w[2..6].to_vec())]), 1);
    }

    #[test]
    fn what_is_shared_counts_once_and_inverters_count() {
        let both = |logic: &mut Logic, w: Vec<Wire>| {
            let shared = parity(logic, &w[..4]);
            vec![logic.and(shared, w[4]), logic.and(shared, w[5]), shared]
        };
        assert_eq!(luts(4, both), 3);
        assert_eq!(luts(4, |_, w| vec![!w[0], w[1]]), 1);
        assert_eq!(
            luts(4, |logic, w| {
                let root = parity(logic, &w[..2]);
                vec![root, !root]
            }),
            2
        );
    }
}
