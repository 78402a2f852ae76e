use bandmaster_kernels::{Format, SplitMix64};

use super::{TinyFamily, TinyFormat, TinyShape, gguf_bytes, normal};
use crate::Spec;
use crate::gguf::Gguf;

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let shape = TinyShape::llama();
    assert_eq!(gguf_bytes(1, &shape), gguf_bytes(1, &shape));
    assert_ne!(gguf_bytes(1, &shape), gguf_bytes(2, &shape));
}

#[test]
fn every_format_of_the_real_files_occurs() {
    let gguf = Gguf::from_bytes(gguf_bytes(1, &TinyShape::llama())).unwrap();
    for name in ["Q4_1", "Q5_0", "Q8_0", "Q4_K", "Q6_K", "F16", "F32"] {
        assert!(gguf.tensors().iter().any(|tensor| tensor.type_name() == name), "{name}");
    }
}

#[test]
fn the_file_says_what_the_shape_says() {
    for shape in [TinyShape::llama(), TinyShape::qwen2()] {
        let gguf = Gguf::from_bytes(gguf_bytes(3, &shape)).unwrap();
        let architecture = gguf.architecture().unwrap();
        assert_eq!(gguf.required::<usize>(&format!("{architecture}.block_count")).unwrap(), shape.layers);
        let tokens: Vec<&str> = gguf.required("tokenizer.ggml.tokens").unwrap();
        assert_eq!(tokens.len(), shape.vocab);
        assert_eq!(
            gguf.required_tensor("token_embd.weight").unwrap().shape,
            [shape.width as u64, shape.vocab as u64]
        );
        assert_eq!(gguf.tensor("output.weight").is_none(), shape.tied);
        assert_eq!(gguf.tensor("blk.0.attn_q.bias").is_some(), shape.family == TinyFamily::Qwen2);
        let end: usize = gguf.required("tokenizer.ggml.eos_token_id").unwrap();
        assert_eq!(tokens[end], "<|im_end|>");
        let mut distinct = tokens.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), tokens.len());
        for merge in gguf.required::<Vec<&str>>("tokenizer.ggml.merges").unwrap() {
            let (left, right) = merge.split_once(' ').unwrap();
            assert!(
                [left, right, &format!("{left}{right}")].iter().all(|part| tokens.contains(part)),
                "{merge}"
            );
        }
    }
}

#[test]
fn a_shape_is_refused_that_the_loader_would_refuse() {
    let made = |shape: &TinyShape| {
        let shape = shape.clone();
        std::panic::catch_unwind(move || gguf_bytes(1, &shape)).ok()
    };
    for head_dim in [16, 32, 48, 256] {
        let shape = TinyShape { heads: 2, kv_heads: 1, head_dim, layers: 1, ..TinyShape::llama() };
        let file = made(&shape).unwrap_or_else(|| panic!("{head_dim} elements per head are refused"));
        Spec::from_gguf(&Gguf::from_bytes(file).unwrap()).unwrap();
    }
    // A multiple of 2 and 8, and a head wider than the kernels allow.
    for head_dim in [8, 24, 40, 272] {
        let shape = TinyShape { heads: 4, kv_heads: 1, head_dim, layers: 1, ..TinyShape::llama() };
        assert!(made(&shape).is_none(), "{head_dim} elements per head are accepted");
    }
}

#[test]
fn blocks_read_back_close_to_the_weights() {
    let mut random = SplitMix64(5);
    let weights: Vec<f32> = (0..4096).map(|_| normal(&mut random)).collect();
    // Half a step of a 4-bit block that spans six deviations is 0.2; K-quants round their scales too.
    for (format, error_max) in [
        (TinyFormat::F32, 0.0),
        (TinyFormat::F16, 0.002),
        (TinyFormat::Q8_0, 0.02),
        (TinyFormat::Q6K, 0.08),
        (TinyFormat::Q5_0, 0.15),
        (TinyFormat::Q4_1, 0.25),
        (TinyFormat::Q4K, 0.4),
    ] {
        let reader = Format::from_ggml(format.ggml_type()).unwrap();
        let mut read = vec![0.0; weights.len()];
        reader.dequantize(&format.quantize(&weights), &mut read);
        let error = weights.iter().zip(&read).map(|(w, r)| (w - r).abs()).fold(0.0, f32::max);
        assert!(error <= error_max, "{}: {error}", reader.name());
    }
}
