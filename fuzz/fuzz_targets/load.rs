//! Reads any bytes as a model file: reading, sealing, differentiating and writing must return, in bounded memory and
//! time. A sealed file needs no other file, so sealing it again must not change it.

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnx_grad::{
    LoadOptions, Loss, Lowering, gradient_at, gradient_graph, inner_values, parse, seal_bytes,
    to_onnx, with_backward,
};

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
    let inner = inner_values(&loaded.graph);
    let names = inner.iter().take(2).map(|(name, _)| name.as_str());
    let names: Vec<&str> = names.collect();
    let derived = [
        gradient_graph(&loaded.graph, Loss::CrossEntropy),
        gradient_at(&loaded.graph, &names),
    ];
    for gradient in derived.into_iter().flatten() {
        for lowering in [Lowering::Portable, Lowering::OnnxRuntime] {
            let _ = to_onnx(&gradient, lowering);
        }
    }
    if let [from, to] = names[..] {
        let _ = with_backward(&loaded.graph, from, to);
    }
});
