//! Sums at which the value of a transcendental function is beside a threshold: `inspect` tells them.

use stoxnor_testbenches::onnx::Builder;

use crate::bed::Bed;

/// x -> BipolarQuant -> 4 x 3 layer -> 1/4 of the sums, plus `bias` -> `function` -> Quant of 3 bits -> 3 x 1 layer.
fn model(function: &str, bias: [f32; 3]) -> Vec<u8> {
    let mut model = Builder::new(&[1, 4]);
    let x = model.bipolar("x", 1.0);
    let w = model.floats(&[4, 3], &[1.0, -1.0, 1.0, 1.0, 1.0, -1.0, 1.0, -1.0, -1.0, 1.0, 1.0, 1.0]);
    let sums = model.node("MatMul", &[&x, &w], Vec::new());
    let quarter = model.scalar("Mul", &sums, 0.25);
    let bias = model.floats(&[3], &bias);
    let moved = model.node("Add", &[&quarter, &bias], Vec::new());
    let curve = model.node(function, &[&moved], Vec::new());
    let levels = model.quant(&curve, 0.25, 3, false, "ROUND");
    let w = model.floats(&[3, 1], &[1.0, -1.0, 1.0]);
    let y = model.node("MatMul", &[&levels, &w], Vec::new());
    model.finish(&y)
}

#[test]
fn inspect_tells_the_sums_whose_level_hangs_on_the_last_bits_of_a_function() {
    // Sigmoid is 5/8, the edge of two levels, at ln(5/3): the sum 0 of the second output and the sum 2 of the third.
    let edge = (5f32 / 3.0).ln();
    let bed = Bed::new();
    bed.write("near.onnx", model("Sigmoid", [0.0, edge, edge - 0.5]));
    let said = bed.run(&["inspect", "near.onnx"]).with(0).out;
    let line = "l1_dense: another executor may compute the neighbouring level at 2 of its 15 possible sums, where the value of \
                Sigmoid is within 2^-19 of a threshold\n";
    assert!(said.contains(line), "{said}");
    let found = bed.run(&["inspect", "near.onnx", "--json"]).with(0).json();
    let doubt = serde_json::json!({ "operators": ["Sigmoid"], "sums": 2, "of": 15 });
    assert_eq!(found["layers"][0]["doubt"], doubt);
    assert!(found["layers"][1].get("doubt").is_none(), "{found}");
}

#[test]
fn inspect_tells_nothing_of_sums_that_every_executor_sees_alike() {
    let edge = (5f32 / 3.0).ln();
    let bed = Bed::new();
    // At 0 every executor's Sigmoid is 1/2; Relu is exact.
    for (function, bias) in [("Sigmoid", [0.0, 0.0, 0.25]), ("Relu", [0.0, edge, 0.125])] {
        bed.write("far.onnx", model(function, bias));
        let said = bed.run(&["inspect", "far.onnx"]).with(0).out;
        assert!(!said.contains("another executor"), "{said}");
        let found = bed.run(&["inspect", "far.onnx", "--json"]).with(0).json();
        assert!(found["layers"][0].get("doubt").is_none(), "{found}");
    }
}
