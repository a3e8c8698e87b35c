//! Any bytes as a model file: reading, differentiating and writing end with a value, in bounded memory and time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnx_grad::{Loss, Lowering, gradient_graph, parse, to_onnx};

fuzz_target!(|bytes: &[u8]| {
    let Ok(loaded) = parse(bytes, None) else {
        return;
    };
    for lowering in [Lowering::Portable, Lowering::OnnxRuntime] {
        let _ = to_onnx(&loaded.graph, lowering);
    }
    if let Ok(gradient) = gradient_graph(&loaded.graph, Loss::CrossEntropy) {
        for lowering in [Lowering::Portable, Lowering::OnnxRuntime] {
            let _ = to_onnx(&gradient, lowering);
        }
    }
});
