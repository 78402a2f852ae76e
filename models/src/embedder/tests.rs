use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use bandmaster_kernels::Cpu;

use super::{Embedder, EmbedderError};

/// Token ids and embeddings made by `models/tests/data/minilm_reference.py`, an independent implementation.
const REFERENCE: &str = include_str!("../../tests/data/minilm.json");

fn cpu() -> Arc<Cpu> {
    Arc::new(Cpu::new(2))
}

fn embed(embedder: &Embedder, token_ids: &[u32]) -> Result<Vec<f32>, EmbedderError> {
    embedder.embed_all(&[token_ids]).map(|mut vectors| vectors.remove(0))
}

fn folder() -> Option<PathBuf> {
    bandmaster_test_support::model("minilm-l6-v2")
}

#[test]
fn embeddings_equal_the_reference() {
    let Some(folder) = folder() else { return };
    let embedder = Embedder::load(&folder, cpu()).unwrap();
    let reference: serde_json::Value = serde_json::from_str(REFERENCE).unwrap();
    for text in reference.as_array().unwrap() {
        let ids: Vec<u32> =
            text["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
        let expected: Vec<f32> =
            text["embedding"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        let started = Instant::now();
        let found = embed(&embedder, &ids).unwrap();
        let ms = started.elapsed().as_secs_f32() * 1e3;
        assert_eq!(found.len(), expected.len());
        let distance = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("{} tokens: {ms:.1} ms, largest difference {distance:.1e}", ids.len());
        assert!(distance < 1e-4, "{}: {distance}", text["text"]);
    }
}

#[test]
fn a_text_has_the_same_embedding_whatever_stands_beside_it() {
    let Some(folder) = folder() else { return };
    let embedder = Embedder::load(&folder, cpu()).unwrap();
    let texts: Vec<Vec<u32>> = (1..40).map(|n| (0..n).map(|i| 1000 + 37 * n + i).collect()).collect();
    let together = embedder.embed_all(&texts.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    for (text, embedding) in texts.iter().zip(together) {
        assert_eq!(embed(&embedder, text).unwrap(), embedding, "{} tokens", text.len());
    }
}

#[test]
fn tokens_that_cannot_be_embedded_are_refused() {
    let Some(folder) = folder() else { return };
    let embedder = Embedder::load(&folder, cpu()).unwrap();
    assert_eq!((embedder.shape.width, embedder.shape.tokens_max), (384, 512));
    assert!(matches!(embed(&embedder, &[]), Err(EmbedderError::Length { tokens: 0, .. })));
    assert!(matches!(embed(&embedder, &[101; 513]), Err(EmbedderError::Length { tokens: 513, .. })));
    assert!(matches!(embed(&embedder, &[101, 30_522]), Err(EmbedderError::Token { token: 30_522, .. })));
    assert!(embed(&embedder, &[101; 512]).is_ok());
}

#[test]
fn a_folder_without_a_model_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let error = || Embedder::load(folder.path(), cpu()).unwrap_err().to_string();
    assert!(error().contains("config.json"), "{}", error());
    std::fs::write(folder.path().join("config.json"), "{}").unwrap();
    assert!(error().contains("does not describe a BERT model"), "{}", error());
    let config = r#"{"vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 32, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 8,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0}"#;
    std::fs::write(folder.path().join("config.json"), config).unwrap();
    assert!(error().contains("model.safetensors"), "{}", error());
    std::fs::write(folder.path().join("model.safetensors"), b"not weights").unwrap();
    assert!(error().contains("does not hold the weights"), "{}", error());
}

/// A folder with the smallest BERT model. `change` may alter its tensors' names and lengths and its configuration.
fn tiny(change: impl FnOnce(&mut Vec<(String, Vec<usize>)>, &mut serde_json::Value)) -> tempfile::TempDir {
    const WIDTH: usize = 32;
    let mut tensors: Vec<(String, Vec<usize>)> = Vec::new();
    let mut add = |name: &str, shape: &[usize]| tensors.push((name.to_owned(), shape.to_vec()));
    add("embeddings.word_embeddings.weight", &[8, WIDTH]);
    add("embeddings.position_embeddings.weight", &[4, WIDTH]);
    add("embeddings.token_type_embeddings.weight", &[2, WIDTH]);
    let layer = |part: &str| format!("encoder.layer.0.{part}");
    for part in
        ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
    {
        add(&layer(&format!("{part}.weight")), &[WIDTH, WIDTH]);
        add(&layer(&format!("{part}.bias")), &[WIDTH]);
    }
    for part in ["intermediate.dense", "output.dense"] {
        add(&layer(&format!("{part}.weight")), &[WIDTH, WIDTH]);
        add(&layer(&format!("{part}.bias")), &[WIDTH]);
    }
    let norms = [layer("attention.output.LayerNorm"), layer("output.LayerNorm")];
    for norm in norms.iter().map(String::as_str).chain(["embeddings.LayerNorm"]) {
        add(&format!("{norm}.weight"), &[WIDTH]);
        add(&format!("{norm}.bias"), &[WIDTH]);
    }
    let mut config = serde_json::json!({"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": WIDTH, "max_position_embeddings": 4, "vocab_size": 8, "hidden_act": "gelu", "model_type": "bert"});
    change(&mut tensors, &mut config);
    let data: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape)| {
            (0..shape.iter().product()).flat_map(|i: usize| (i as f32 * 0.37).sin().to_le_bytes()).collect()
        })
        .collect();
    let views = tensors.iter().zip(&data).map(|((name, shape), data)| {
        (
            name.as_str(),
            safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap(),
        )
    });
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap())
        .unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    folder
}

#[test]
fn embedder_whose_file_is_cut_after_loading_goes_on() {
    let folder = tiny(|_, _| {});
    let embedder = Embedder::load(folder.path(), cpu()).unwrap();
    let expected = embed(&embedder, &[1, 7, 3]).unwrap();
    let file = folder.path().join("model.safetensors");
    let bytes = std::fs::metadata(&file).unwrap().len();
    for left in [bytes / 2, 0] {
        std::fs::File::options().write(true).open(&file).unwrap().set_len(left).unwrap();
        assert_eq!(embed(&embedder, &[1, 7, 3]).unwrap(), expected, "nothing of the file is needed any more");
        let error = Embedder::load(folder.path(), cpu()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors") && error.contains("again"), "{error}");
    }
}

#[test]
fn tensors_and_settings_that_would_change_an_embedding_are_refused_by_name() {
    for name in [
        "encoder.layer.1.output.dense.bias",
        "embeddings.more.weight",
        "bert.encoder.scale",
        "classifier.weight",
    ] {
        let folder = tiny(|tensors, _| tensors.push((name.to_owned(), vec![32])));
        let error = Embedder::load(folder.path(), cpu()).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
    for name in
        ["pooler.dense.weight", "embeddings.position_ids", "bert.pooler.dense.bias", "cls.predictions.bias"]
    {
        let folder = tiny(|tensors, _| tensors.push((name.to_owned(), vec![32])));
        Embedder::load(folder.path(), cpu()).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (key, value) in
        [("model_type", "roberta"), ("position_embedding_type", "relative_key"), ("hidden_act", "relu")]
    {
        let folder = tiny(|_, config| config[key] = value.into());
        let error = Embedder::load(folder.path(), cpu()).unwrap_err().to_string();
        assert!(error.contains(key) && error.contains(value), "{error}");
    }
}
