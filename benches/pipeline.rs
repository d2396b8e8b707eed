//! How fast the tool is: import and compilation, the fast engine and its kernels, the rtl engine. Run it with `cargo bench`.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stoxnor::arith::kernels::{self, Counted, Offsets, Operands, ROWS, Sums, TILE, Words};
use stoxnor::config::Config;
use stoxnor::emit::bench;
use stoxnor::engine;
use stoxnor::engine::Conditions;
use stoxnor::engine::stimulus;
use stoxnor::lower::{Hardware, lower};
use stoxnor::network::Network;
use stoxnor::{emit, import};
use stoxnor_sim::{Simulator, simulate};

/// The public TFC network where its data is at hand, else the bundled model, which has the same size.
fn model() -> (String, Vec<u8>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let data = std::env::var_os("STOXNOR_DATA").map_or_else(|| root.join("../shared/data"), Into::into);
    let public = data.join("qonnx-zoo/TFC_1W1A.onnx");
    let bundled = root.join("models/dense_784_64_64_64_10.onnx");
    let path = if public.exists() { public } else { bundled };
    let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
    (name, std::fs::read(path).expect("readable"))
}

fn network() -> (Network, Hardware) {
    let (name, bytes) = model();
    let network = import::read(&name, &bytes).expect("imports");
    let folds = Config::default().foldings(&network).expect("folds");
    let hardware = lower(&network, &folds);
    (network, hardware)
}

fn frames(network: &Network, count: usize) -> Vec<Vec<i32>> {
    let elements = network.entry_elements();
    (0..count)
        .map(|f| (0..elements).map(|e| if (e * 7 + f * 13 + e * f) % 5 < 2 { 1 } else { -1 }).collect())
        .collect()
}

fn compile(c: &mut Criterion) {
    let (name, bytes) = model();
    c.bench_function(&format!("import + compile {name}"), |b| {
        b.iter(|| {
            let network = import::read(&name, black_box(&bytes)).expect("imports");
            let folds = Config::default().foldings(&network).expect("folds");
            emit::files(
                &network,
                &lower(&network, &folds),
                &emit::Request::new(&bench::random_frames(&network, 2, &[])),
            )
        });
    });
}

fn fast(c: &mut Criterion) {
    let (network, _) = network();
    let frames = frames(&network, 10_000);
    let mut group = c.benchmark_group("fast engine");
    group.throughput(Throughput::Elements(frames.len() as u64));
    group.bench_function("images", |b| b.iter(|| engine::sums(&network, black_box(&frames))));
    group.finish();
}

/// Members of the bundled network of stochastic weights: images times members a second.
fn ensemble(c: &mut Criterion) {
    const MEMBERS: u32 = 16;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mnist_784_256_256_10.onnx");
    let bytes = std::fs::read(path).expect("readable");
    c.bench_function("import mnist_784_256_256_10, 16 members", |b| {
        b.iter(|| import::read("mnist", black_box(&bytes)).expect("imports"));
    });
    let network = import::read("mnist", &bytes).expect("imports");
    // Elements of 8 bits: -1 and +1 are two of them.
    let frames = frames(&network, 2_000);
    let mut group = c.benchmark_group("fast engine, ensemble");
    group.throughput(Throughput::Elements(frames.len() as u64 * u64::from(MEMBERS)));
    group.bench_function("images x members", |b| {
        b.iter(|| engine::sums_at(&network, black_box(&frames), &[MEMBERS]));
    });
    group.finish();
}

/// Each set of kernels on operands of 64 words: words of weights times operands a second, and sums a second.
fn kernels(c: &mut Criterion) {
    const WORDS: usize = 64;
    let word = |at: usize| (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let words: Vec<u64> = (0..WORDS * TILE).map(word).collect();
    let weights: Vec<Words> =
        (0..WORDS).map(|i| std::array::from_fn(|r| word(i * ROWS + r).rotate_left(7))).collect();
    let mask: Vec<Words> = weights.iter().map(|words| words.map(|w| w.rotate_left(13))).collect();
    let offsets = Offsets::new((0..WORDS).collect());
    let places = std::array::from_fn(|t| t * WORDS);
    let operands = Operands { words: &words, places, offsets: &offsets, planes: &[(0, 1)] };
    let counted = [
        ("differ", Counted::Differ(&weights)),
        ("differ where", Counted::DifferWhere(&weights, &mask)),
        ("both", Counted::Both(&weights)),
    ];
    let mut sums: Sums = [[0; ROWS]; TILE];
    let mut group = c.benchmark_group("kernels, words");
    group.throughput(Throughput::Elements((WORDS * TILE * ROWS) as u64));
    for set in kernels::all() {
        for (name, counted) in counted {
            group.bench_function(format!("{} {name}", set.name), |b| {
                b.iter(|| set.accumulate(black_box(counted), &operands, &mut sums));
            });
        }
    }
    group.finish();
    let thresholds = [[3; ROWS]; 15];
    let mut group = c.benchmark_group("kernels, sums");
    group.throughput(Throughput::Elements((TILE * ROWS) as u64));
    for set in kernels::all() {
        let mut levels = sums;
        group.bench_function(format!("{} 1 threshold", set.name), |b| {
            b.iter(|| set.reached(black_box(&sums), &thresholds[0]));
        });
        group.bench_function(format!("{} 15 thresholds", set.name), |b| {
            b.iter(|| set.levels(black_box(&sums), &thresholds, &mut levels));
        });
        group.bench_function(format!("{} plane", set.name), |b| b.iter(|| set.plane(black_box(&sums), 2)));
    }
    group.finish();
}

fn rtl(c: &mut Criterion) {
    let (network, hardware) = network();
    let frames = frames(&network, 8);
    let stimulus = stimulus(&network, &hardware, &frames, &Conditions::default());
    let mut simulator = Simulator::new(&hardware.design.top);
    let cycles = simulate(&hardware.design, &mut simulator, &stimulus, |_, _| {}).expect("ends").cycles;
    let mut group = c.benchmark_group("rtl engine");
    group.throughput(Throughput::Elements(cycles)).sample_size(20);
    group.bench_function("cycles", |b| {
        b.iter(|| simulate(&hardware.design, &mut simulator, &stimulus, |_, _| {}).expect("ends"));
    });
    group.finish();
}

criterion_group!(benches, compile, kernels, fast, ensemble, rtl);
criterion_main!(benches);
