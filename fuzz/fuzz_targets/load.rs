//! Any bytes as a model file: reading, sealing, differentiating and writing end with a value, in bounded memory and time. A
//! sealed file needs no other, so it can be sealed again and stays as it is.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnx_grad::{LoadOptions, Loss, Lowering, gradient_graph, parse, seal_bytes, to_onnx};

fuzz_target!(|bytes: &[u8]| {
    let options = LoadOptions::default();
    if let Ok(sealed) = seal_bytes(bytes, None, &options) {
        let again = seal_bytes(&sealed.bytes, None, &options);
        assert_eq!(again.map(|again| again.bytes), Ok(sealed.bytes));
    }
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
