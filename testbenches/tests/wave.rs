//! The waveform as a viewer reads it, by the `vcd` crate: hierarchy, names, window, and the values at a divergence.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::ops::Range;

use stoxnor::engine::compare::{Difference, DifferenceKind};
use stoxnor::engine::wave;
use stoxnor::engine::{Conditions, Engine};
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::unit::folding::Folding;
use stoxnor_testbenches::conformance::{compared, random_dense, random_frames};
use stoxnor_testbenches::fault::edit_image;

/// A waveform read back.
struct Read {
    header: vcd::Header,
    /// Time of every sample, in order.
    times: Vec<u64>,
    /// The changes of each signal.
    changes: BTreeMap<vcd::IdCode, Vec<(u64, String)>>,
}

impl Read {
    fn new(path: &std::path::Path) -> Self {
        let mut parser = vcd::Parser::new(BufReader::new(File::open(path).unwrap()));
        let header = parser.parse_header().unwrap();
        let (mut times, mut changes) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for command in parser {
            match command.unwrap() {
                vcd::Command::Timestamp(time) => times.push(time),
                vcd::Command::ChangeScalar(id, value) => {
                    changes.entry(id).or_default().push((*times.last().unwrap(), value.to_string()));
                }
                vcd::Command::ChangeVector(id, value) => {
                    changes.entry(id).or_default().push((*times.last().unwrap(), value.to_string()));
                }
                _ => {}
            }
        }
        assert!(times.is_sorted(), "time runs forwards");
        Self { header, times, changes }
    }

    /// The value of a signal on a cycle.
    fn at(&self, path: &[&str], cycle: u64) -> &str {
        let var = self.header.find_var(path).unwrap_or_else(|| panic!("no signal {path:?}"));
        let before = self.changes[&var.code].iter().take_while(|(time, _)| *time <= cycle * 10);
        &before.last().unwrap_or_else(|| panic!("{path:?} has no value on cycle {cycle}")).1
    }

    /// The cycles shown.
    fn cycles(&self) -> Range<u64> {
        self.times[0] / 10..self.times.last().unwrap() / 10 + 1
    }
}

const FRAMES: usize = 20;

fn bed() -> (Network, Hardware, Vec<Vec<i32>>) {
    let network = random_dense(9, &[24, 12, 8, 4]);
    let folds = [Folding::new(3, 8), Folding::new(2, 6), Folding::new(1, 4)];
    let hardware = lower(&network, &folds);
    let frames = random_frames(4, &network, FRAMES);
    (network, hardware, frames)
}

fn shown(
    (network, hardware, frames): &(Network, Hardware, Vec<Vec<i32>>),
    conditions: &Conditions,
    difference: Option<&Difference>,
) -> Read {
    let directory = tempfile::tempdir().unwrap();
    let path = wave::write(directory.path(), network, hardware, frames, conditions, difference).unwrap();
    Read::new(&path)
}

#[test]
fn a_viewer_sees_the_layers_as_a_hierarchy() {
    let bed = bed();
    let read = shown(&bed, &Conditions::default(), None);
    let scope = |path: &[&str]| read.header.find_scope(path).unwrap_or_else(|| panic!("no scope {path:?}"));
    assert_eq!(read.header.items.iter().filter(|i| matches!(i, vcd::ScopeItem::Scope(_))).count(), 1);
    let top = bed.1.design.top.name.as_str();
    assert_eq!(top, "conformance_top");
    scope(&[top]);
    for (layer, pe) in [("u_l1_dense", 3), ("u_l2_dense", 2), ("u_l3_dense", 1)] {
        scope(&[top, layer]);
        let units = (0..8).filter(|i| read.header.find_scope(&[top, layer, &format!("u_pe_{i}")]).is_some());
        assert_eq!(units.count(), pe, "{layer}");
    }
    for name in ["clk", "s_valid", "m_data", "l1_dense_m_valid", "l2_dense_m_data"] {
        assert!(read.header.find_var(&[top, name]).is_some(), "{name}");
    }
    let width = |name: &str| read.header.find_var(&[top, name]).unwrap().size;
    assert_eq!((width("l1_dense_m_data"), width("l2_dense_m_data")), (3, 2), "PE lanes of one bit");
}

#[test]
fn without_a_difference_the_first_frame_is_shown_from_the_first_cycle() {
    let bed = bed();
    let read = shown(&bed, &Conditions::default(), None);
    let top = "conformance_top";
    assert_eq!(read.cycles().start, 0);
    let lasts = |read: &Read| {
        read.cycles()
            .filter(|c| ["m_valid", "m_ready", "m_last"].iter().all(|n| read.at(&[top, n], *c) == "1"))
            .collect::<Vec<_>>()
    };
    let last = lasts(&read);
    assert_eq!(last.len(), 1, "one frame");
    let first_beat = read.cycles().find(|c| read.at(&[top, "s_valid"], *c) == "1").unwrap();
    assert_eq!(last[0] - first_beat, bed.1.latency(1));
    let clock = read.header.find_var(&[top, "clk"]).unwrap().code;
    assert_eq!(read.changes[&clock].len() as u64, 2 * read.cycles().end, "one rise and one fall a cycle");
    let stalled = shown(&bed, &Conditions::stalled(Some(2)), None);
    assert!(lasts(&stalled)[0] > last[0], "the check's stalls are the waveform's");
}

/// Makes a threshold of layer 2 wrong, and demands that the first divergence is in the waveform, with the value that was found.
fn diverges(stall: Option<u64>) {
    let (network, hardware, frames) = bed();
    let faulty = edit_image(&hardware, "l2_dense_thresholds.mem", |words| {
        let bits = words[1].width() / 2;
        let old = words[1].extract(bits, bits);
        words[1].insert(bits, bits, (old + (1 << bits) - 1) % (1 << bits));
    });
    let report =
        compared(&network, &faulty, &frames, &[Engine::Reference, Engine::Rtl], &Conditions::stalled(stall));
    let found = report.first_difference.expect("the fault shows");
    assert_eq!((found.kind, found.layer.as_str()), (DifferenceKind::Value, "l2_dense"));
    let cycle = found.cycle.expect("rtl counts cycles");
    let read = shown(&(network, faulty, frames), &Conditions::stalled(stall), Some(&found));
    let wanted = cycle.saturating_sub(100)..cycle + 101;
    // The run may end inside the window.
    assert_eq!(read.cycles().start, wanted.start, "stall {stall:?}");
    assert!(read.cycles().end <= wanted.end && read.cycles().contains(&cycle), "{:?}", read.cycles());
    let value = |name: &str| read.at(&["conformance_top", name], cycle);
    assert_eq!((value("l2_dense_m_valid"), value("l2_dense_m_ready")), ("1", "1"), "a beat is accepted");
    // PE 2: element 0 of the beat is the last character.
    let lane = value("l2_dense_m_data").as_bytes()[1 - found.element % 2];
    assert_eq!(i64::from(lane == b'1') * 2 - 1, found.found.unwrap());
    // Past a window's start every signal has a value at once.
    assert!(read.changes.values().all(|c| c[0].0 == read.times[0]), "initial values");
}

#[test]
fn the_window_holds_the_divergence() {
    diverges(None);
    diverges(Some(5));
}

#[test]
fn a_difference_on_no_cycle_is_shown_by_its_whole_frame() {
    let bed = bed();
    let difference = Difference {
        kind: DifferenceKind::Value,
        engine: Engine::Fast,
        layer: "l3_dense".to_owned(),
        frame: 7,
        member: 0,
        element: 0,
        cycle: None,
        expected: Some(0),
        found: Some(2),
    };
    let read = shown(&bed, &Conditions::default(), Some(&difference));
    // The first beat of the waveform is that of frame 7: 8 lanes, element 0 last.
    let first = read.cycles().find(|c| read.at(&["conformance_top", "s_valid"], *c) == "1").unwrap();
    let beat: String = bed.2[7][..8].iter().rev().map(|v| if *v > 0 { '1' } else { '0' }).collect();
    assert_eq!(read.at(&["conformance_top", "s_data"], first), beat);
    assert_ne!(bed.2[0][..8], bed.2[7][..8]);
}
