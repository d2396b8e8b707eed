//! Input arrays: the forms that are taken, and those that are refused in bounded time and memory.

use stoxnor_testbenches::data::read_npy;

use crate::bed::Bed;
use crate::bed::bytes;
use crate::bed::float_bytes;
use crate::bed::npy;
use crate::bed::npy_of;
use crate::bed::pixels;

fn run(bed: &Bed) -> crate::bed::Ended {
    bed.run(&["run", "m.onnx", "--input", "x.npy", "--output", "y.npy", "--sums", "s.npy"])
}

fn sums(bed: &Bed) -> Vec<f64> {
    run(bed).with(0);
    read_npy(&bed.path("s.npy")).unwrap().values
}

#[test]
fn float32_and_uint8_are_the_same_numbers() {
    let bed = Bed::new();
    let raw = bytes(4);
    let floats: Vec<f32> = raw.iter().map(|p| f32::from(*p)).collect();
    bed.write("x.npy", npy("<f4", &[4, 24], &float_bytes(&floats)));
    let wanted = sums(&bed);
    assert_eq!(wanted.len(), 16);
    bed.write("x.npy", npy("|u1", &[4, 24], &raw));
    assert_eq!(sums(&bed), wanted);
    let big: Vec<u8> = floats.iter().flat_map(|v| v.to_be_bytes()).collect();
    bed.write("x.npy", npy(">f4", &[4, 24], &big));
    assert_eq!(sums(&bed), wanted, "the other byte order");
}

#[test]
fn any_shape_with_as_many_elements_a_frame_is_taken() {
    let bed = Bed::with_frames(4);
    let wanted = sums(&bed);
    for shape in [&[4, 24][..], &[4, 1, 24], &[4, 2, 3, 4], &[4, 24, 1, 1], &[2, 2, 24], &[1, 4, 1, 24]] {
        bed.write("x.npy", npy("<f4", shape, &float_bytes(&pixels(4))));
        assert_eq!(sums(&bed), wanted, "{shape:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_written() {
    let data = float_bytes(&pixels(4));
    let whole = npy("<f4", &[4, 24], &data);
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("an empty file", Vec::new(), "input-unreadable", "not a npy file"),
        ("text", b"1,2,3\n".to_vec(), "input-unreadable", "not a npy file"),
        ("a cut header", whole[..20].to_vec(), "input-unreadable", "not a npy file"),
        ("cut data", whole[..whole.len() - 1].to_vec(), "input-unreadable", "ends before the [4, 24]"),
        ("half the data", whole[..whole.len() / 2].to_vec(), "input-unreadable", "the whole file has"),
        ("terabytes", npy("<f4", &[1 << 40, 24], &data), "input-unreadable", "105553116266496 bytes"),
        (
            "more than 2^64",
            npy("|u1", &[1 << 40, 1 << 40], &data),
            "input-unreadable",
            "more than 2^64 bytes",
        ),
        ("no frame", npy("<f4", &[0, 24], &[]), "input-shape", "holds no frame"),
        ("no frame of 2^80", npy("|u1", &[0, 1 << 40, 1 << 40], &[]), "input-shape", "holds no frame"),
        ("no frame, no elements", npy("<f4", &[0, 0], &[]), "input-shape", "holds no frame"),
        ("batches of no frame", npy("<f4", &[2, 0, 24], &[]), "input-shape", "holds no frame"),
        ("frames of nothing", npy("<f4", &[4, 0], &[]), "input-shape", "holds no frame"),
        ("one number", npy("<f4", &[], &data[..4]), "input-shape", "one number"),
        ("another size", npy("<f4", &[8, 12], &data), "input-shape", "8 frames of 12 elements, not of 24"),
        ("one axis", npy("<f4", &[96], &data), "input-shape", "96 frames of 1 elements"),
        ("Fortran order", npy_of("<f4", "True", "4, 24", &data), "input-shape", "Fortran order"),
        ("float64", npy("<f8", &[2, 24], &data), "input-unreadable", "<f8"),
        ("int64", npy("<i8", &[2, 24], &data), "input-unreadable", "<i8"),
        ("bool", npy("|b1", &[4, 24], &bytes(4)), "input-unreadable", "|b1"),
        ("float16", npy("<f2", &[8, 24], &data), "input-unreadable", "<f2"),
        ("a text shape", npy_of("<f4", "False", "'four'", &data), "input-unreadable", "not a npy file"),
        ("a negative shape", npy_of("<f4", "False", "-4, 24", &data), "input-unreadable", "not a npy file"),
        ("not a number", npy("<f4", &[1, 24], &float_bytes(&[f32::NAN; 24])), "input-value", "frame 0"),
    ];
    let bed = Bed::new();
    for (what, content, code, fact) in cases {
        bed.write("x.npy", content);
        let ended = run(&bed).with(2);
        assert!(ended.err.contains(code) && ended.err.contains(fact), "{what}: {}", ended.err);
        assert_eq!((ended.out.as_str(), bed.list(".").len()), ("", 2), "{what}");
    }
    assert!(
        bed.run(&["run", "m.onnx", "--input", ".", "--output", "y.npy"]).with(2).err.contains("regular file")
    );
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing() {
    let bed = Bed::with_frames(40);
    bed.write("file", "");
    let below = bed.run(&["run", "m.onnx", "--input", "x.npy", "--output", "file/y.npy"]).with(2);
    assert!(below.err.contains("output-unwritable"), "{}", below.err);
    // Files may not grow at all.
    let limited = "trap '' XFSZ; ulimit -f 0; exec $STOXNOR run m.onnx --input x.npy --output y.npy";
    assert!(bed.shell(limited).with(2).err.contains("output-unwritable"));
    assert_eq!(bed.list("."), ["file", "m.onnx", "x.npy"]);
}
