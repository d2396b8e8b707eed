//! The bundled MNIST network and its sample of images.

use std::path::{Path, PathBuf};

use stoxnor::engine::answers::Decision;
use stoxnor::{engine, import};
use stoxnor_testbenches::data::{data_dir, read_idx};

fn models() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models")
}

/// Right answers for several numbers of members.
fn correct(images: &[u8], labels: &[u8], members: &[u32]) -> Vec<usize> {
    let network = import::load(&models().join("mnist_784_256_256_10.onnx")).unwrap();
    let decision = Decision::of(&network).unwrap();
    let frames: Vec<Vec<i32>> = images
        .chunks(784)
        .map(|image| network.quantise(&image.iter().map(|p| f32::from(*p)).collect::<Vec<_>>()).unwrap())
        .collect();
    let right = |sums: &[i32], label: u8, members| {
        let sums: Vec<i64> = sums.iter().map(|s| i64::from(*s)).collect();
        decision.answer(&network.finish(&sums, members).unwrap()).class == usize::from(label)
    };
    engine::sums_at(&network, &frames, members)
        .iter()
        .zip(members)
        .map(|(sums, m)| sums.iter().zip(labels).filter(|(sums, label)| right(sums, **label, *m)).count())
        .collect()
}

#[test]
fn sixteen_members_beat_one_on_the_test_set() {
    let Some(data) = data_dir() else { return };
    let (_, images) = read_idx(&data.join("mnist/t10k-images-idx3-ubyte.gz")).unwrap();
    let (_, labels) = read_idx(&data.join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap();
    // What README.md and models/README.md say.
    assert_eq!(correct(&images, &labels, &[1, 2, 4, 8, 16]), [9777, 9805, 9811, 9817, 9824]);
}

#[test]
fn the_sample_is_the_beginning_of_the_test_set() {
    let (shape, images) = read_idx(&models().join("mnist_sample_images.idx3.gz")).unwrap();
    let (_, labels) = read_idx(&models().join("mnist_sample_labels.idx1.gz")).unwrap();
    assert_eq!((shape, labels.len()), (vec![200, 28, 28], 200));
    assert!(correct(&images, &labels, &[16])[0] >= 195);
    let Some(data) = data_dir() else { return };
    let (_, all) = read_idx(&data.join("mnist/t10k-images-idx3-ubyte.gz")).unwrap();
    let (_, answers) = read_idx(&data.join("mnist/t10k-labels-idx1-ubyte.gz")).unwrap();
    assert!(all.starts_with(&images) && answers.starts_with(&labels));
}
