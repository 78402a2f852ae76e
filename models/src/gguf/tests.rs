use std::path::Path;

use super::{Gguf, GgufError, Value, Writer};

fn sample() -> Writer {
    let mut file = Writer::new();
    file.set("general.architecture", "llama")
        .set("llama.block_count", &2u32)
        .set("llama.rope.freq_base", &1e5f32)
        .set("tokenizer.ggml.add_bos_token", &false)
        .set("tokenizer.ggml.tokens", &["a", "b", "é"])
        .set("tokenizer.ggml.scores", &[0.5f32, -1.0])
        .set("tokenizer.ggml.token_type", &[1i32, 3, 1]);
    file.tensor("a", &[32, 2], 8, &[7; 68]).tensor("b", &[3], 0, &[1; 12]);
    file
}

fn problem(file: &Writer) -> String {
    Gguf::from_bytes(file.finish()).expect_err("the file is damaged").to_string()
}

#[test]
fn reads_what_was_written() {
    let gguf = Gguf::from_bytes(sample().finish()).unwrap();
    assert_eq!(gguf.architecture().unwrap(), "llama");
    assert_eq!(gguf.required::<usize>("llama.block_count").unwrap(), 2);
    assert_eq!(gguf.required::<f32>("llama.rope.freq_base").unwrap(), 1e5);
    assert!(!gguf.required::<bool>("tokenizer.ggml.add_bos_token").unwrap());
    assert_eq!(gguf.required::<Vec<&str>>("tokenizer.ggml.tokens").unwrap(), ["a", "b", "é"]);
    assert_eq!(gguf.required::<Vec<f32>>("tokenizer.ggml.scores").unwrap(), [0.5, -1.0]);
    assert_eq!(gguf.required::<Vec<i32>>("tokenizer.ggml.token_type").unwrap(), [1, 3, 1]);
    assert_eq!(gguf.value::<u32>("nothing").unwrap(), None);
    assert!(matches!(gguf.get("llama.block_count"), Some(Value::U32(2))));
    assert_eq!(gguf.metadata().count(), 7);
    let a = gguf.required_tensor("a").unwrap();
    assert_eq!(
        (a.shape.as_slice(), a.elements(), a.bytes, a.type_name()),
        (&[32, 2][..], 64, 68, "Q8_0".to_owned())
    );
    assert_eq!(gguf.data(a).unwrap(), [7; 68]);
    assert_eq!(gguf.data(gguf.tensor("b").unwrap()).unwrap(), [1; 12]);
    assert!(gguf.tensor("c").is_none());
}

#[test]
fn missing_and_mistyped_keys_are_named() {
    let gguf = Gguf::from_bytes(sample().finish()).unwrap();
    let missing = gguf.required::<u32>("llama.head_count").unwrap_err().to_string();
    assert!(missing.contains("`llama.head_count`"), "{missing}");
    let mistyped = gguf.required::<u32>("general.architecture").unwrap_err().to_string();
    assert!(
        mistyped.contains("`general.architecture` at byte 24 holds string where an unsigned 32-bit integer"),
        "{mistyped}"
    );
    let tensor = gguf.required_tensor("output.weight").unwrap_err().to_string();
    assert!(tensor.contains("`output.weight`"), "{tensor}");
}

#[test]
fn a_file_cut_at_any_byte_is_refused() {
    let whole = sample().finish();
    // Bytes after the last tensor are padding.
    let needed = whole.len() - (32 - 12);
    for len in 0..whole.len() {
        let result = Gguf::from_bytes(whole[..len].to_vec());
        assert_eq!(result.is_ok(), len >= needed, "cut to {len} of {} bytes", whole.len());
    }
}

#[test]
fn huge_counts_are_refused_before_anything_is_reserved() {
    for at in [8, 16] {
        let mut bytes = sample().finish();
        bytes[at..at + 8].copy_from_slice(&u64::MAX.to_le_bytes());
        let error = Gguf::from_bytes(bytes).unwrap_err().to_string();
        assert!(error.contains("announces 18446744073709551615"), "{error}");
    }
}

#[test]
fn an_unknown_type_is_an_error_only_when_used() {
    let mut file = sample();
    file.tensor("odd", &[5], 4711, &[0; 5]);
    let gguf = Gguf::from_bytes(file.finish()).unwrap();
    let odd = gguf.tensor("odd").unwrap();
    assert_eq!(odd.type_name(), "type 4711");
    assert!(matches!(gguf.data(odd), Err(GgufError::UnknownType { ggml_type: 4711, .. })));
}

#[test]
fn impossible_tensors_are_refused_by_name() {
    let check = |shape: &[u64], ggml_type, data: &[u8], expected: &str| {
        let error = problem(sample().tensor("bad", shape, ggml_type, data));
        assert!(error.contains("`bad`") && error.contains(expected), "{error}");
    };
    check(&[], 0, &[], "0 dimensions");
    check(&[1; 5], 0, &[], "5 dimensions");
    check(&[0], 0, &[], "is impossible");
    check(&[u64::MAX, 2], 0, &[], "is impossible");
    check(&[1 << 62], 0, &[], "does not fit");
    check(&[33], 8, &[0; 40], "blocks of 32 Q8_0");
    check(&[1 << 40], 0, &[0; 40], "is cut off");
    check(&[4], 0, &[], "is cut off");
    let twice = problem(sample().tensor("a", &[1], 0, &[0; 4]));
    assert!(twice.contains("`a`") && twice.contains("twice"), "{twice}");
}

#[test]
fn damaged_metadata_is_refused_by_key() {
    let twice = problem(sample().set("llama.block_count", &3u32));
    assert!(twice.contains("`llama.block_count`") && twice.contains("twice"), "{twice}");
    let alignment = problem(sample().set("general.alignment", &48u32));
    assert!(alignment.contains("`general.alignment`") && alignment.contains("power of two"), "{alignment}");
    let misaligned = problem(sample().set("general.alignment", &64u32));
    assert!(misaligned.contains("not a multiple of 64") || misaligned.contains("cut off"), "{misaligned}");
    let mut deep = vec![vec![vec![vec![vec![0u8]]]]];
    deep.push(Vec::new());
    let nested = problem(sample().set("deep", &deep));
    assert!(nested.contains("`deep`") && nested.contains("nested"), "{nested}");
}

#[test]
fn overlapping_data_is_refused() {
    let mut bytes = sample().finish();
    // The offset of `b`, the last entry of the table, before the padding in front of the data.
    let table_end =
        bytes.windows(9).rposition(|window| window == b"\x01\0\0\0\0\0\0\0b").unwrap() + 9 + 4 + 8 + 4;
    bytes[table_end..table_end + 8].copy_from_slice(&32u64.to_le_bytes());
    let error = Gguf::from_bytes(bytes).unwrap_err().to_string();
    assert!(error.contains("`b`") && error.contains("overlaps that of `a`"), "{error}");
}

#[test]
fn other_files_and_versions_are_told_apart() {
    let error = |bytes: &[u8]| Gguf::from_bytes(bytes.to_vec()).unwrap_err().to_string();
    assert!(error(b"").contains("empty"));
    assert!(error(b"%PDF-1.7").contains("begins with \"%PDF\""));
    assert!(error(b"GGUF\x01\0\0\0").contains("version 1"));
    assert!(error(b"GGUF\0\0\0\x03").contains("big endian"));
    let missing = Gguf::open(Path::new("/nonexistent/model.gguf")).unwrap_err().to_string();
    assert!(missing.contains("/nonexistent/model.gguf"), "{missing}");
}

fn write_parts(dir: &Path, parts: u16) {
    for part in 0..parts {
        let mut file = Writer::new();
        if part == 0 {
            file.set("general.architecture", "llama");
        }
        file.set("split.no", &part).set("split.count", &parts).set("split.tensors.count", &i32::from(parts));
        file.tensor(&format!("t{part}"), &[2], 0, &[part as u8; 8]);
        std::fs::write(dir.join(format!("m-{:05}-of-{parts:05}.gguf", part + 1)), file.finish()).unwrap();
    }
}

#[test]
fn a_split_model_opens_as_one_from_any_part() {
    let dir = tempfile::tempdir().unwrap();
    write_parts(dir.path(), 3);
    for opened in 1..=3 {
        let gguf = Gguf::open(&dir.path().join(format!("m-0000{opened}-of-00003.gguf"))).unwrap();
        assert_eq!(gguf.architecture().unwrap(), "llama");
        for part in 0..3u8 {
            let tensor = gguf.tensor(&format!("t{part}")).unwrap();
            assert_eq!(gguf.data(tensor).unwrap(), [part; 8]);
            gguf.release(tensor);
        }
    }
}

#[test]
fn a_missing_part_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write_parts(dir.path(), 3);
    let first = dir.path().join("m-00001-of-00003.gguf");
    std::fs::remove_file(dir.path().join("m-00002-of-00003.gguf")).unwrap();
    let error = Gguf::open(&first).unwrap_err().to_string();
    assert!(error.contains("m-00002-of-00003.gguf: part 2 of 3"), "{error}");
    let renamed = dir.path().join("renamed.gguf");
    std::fs::rename(&first, &renamed).unwrap();
    let error = Gguf::open(&renamed).unwrap_err().to_string();
    assert!(error.contains("-00001-of-00003.gguf"), "{error}");
}

#[test]
fn released_pages_read_the_same_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.gguf");
    let data: Vec<u8> = (0..1 << 20).map(|i: u32| (i % 251) as u8).collect();
    std::fs::write(&path, Writer::new().tensor("t", &[1 << 18], 0, &data).finish()).unwrap();
    let gguf = Gguf::open(&path).unwrap();
    let tensor = gguf.tensor("t").unwrap();
    assert_eq!(gguf.data(tensor).unwrap(), data);
    gguf.release(tensor);
    assert_eq!(gguf.data(tensor).unwrap(), data);
}
