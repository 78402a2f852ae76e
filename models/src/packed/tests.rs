use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use bandmaster_kernels::Cpu;
use tempfile::TempDir;

use super::*;
use crate::batch::Batch;
use crate::load::load;
use crate::model::Model;
use crate::options::LoadOptions;
use crate::tiny::{TinyShape, gguf_bytes};

/// A model file in a folder of its own.
struct Place {
    _folder: TempDir,
    model: PathBuf,
}

impl Place {
    fn new(seed: u64) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.gguf");
        fs::write(&model, gguf_bytes(seed, &TinyShape::llama())).unwrap();
        Place { _folder: folder, model }
    }

    fn packed(&self) -> PathBuf {
        packed_path(&self.model)
    }

    /// The bits of the logits of some tokens after loading.
    fn logits(&self, keep_packed: bool) -> Vec<u32> {
        let options = LoadOptions { keep_packed, ..LoadOptions::new(Arc::new(Cpu::new(2)), 1 << 20) };
        let mut model = load(&self.model, &options).unwrap();
        let mut batch = Batch::default();
        batch.push_span(&[3, 1, 4, 1, 5], 0, &[0]);
        batch.rows.push(4);
        model.commit_block(0);
        let row = Mutex::new(Vec::new());
        let keep = |_: usize, logits: &mut [f32]| {
            *row.lock().unwrap() = logits.iter().map(|logit| logit.to_bits()).collect();
        };
        model.forward(&batch, &keep).unwrap();
        row.into_inner().unwrap()
    }

    /// Identifies the file: a new one has another number.
    fn inode(&self) -> u64 {
        fs::metadata(self.packed()).unwrap().ino()
    }
}

#[test]
fn second_load_maps_what_the_first_has_packed() {
    let place = Place::new(1);
    let in_memory = place.logits(false);
    assert!(!place.packed().exists(), "nothing is written unless asked for");
    assert_eq!(place.logits(true), in_memory);
    let first = place.inode();
    assert_eq!(place.logits(true), in_memory);
    assert_eq!(place.inode(), first, "it was used and not made anew");
    assert_eq!(fs::read_dir(place.model.parent().unwrap()).unwrap().count(), 2, "no draft is left");
}

#[test]
fn harmed_or_foreign_bytes_are_noticed_and_made_anew() {
    let place = Place::new(2);
    let expected = place.logits(true);
    let good = fs::read(place.packed()).unwrap();
    let harms: [fn(&mut Vec<u8>); 7] = [
        |bytes| bytes[3] ^= 1,
        |bytes| bytes[200] ^= 4,
        |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0x80;
        },
        |bytes| bytes.truncate(bytes.len() - 1000),
        |bytes| bytes.extend([0; 64]),
        |bytes| bytes.clear(),
        |bytes| bytes.fill(0x41),
    ];
    for (number, harm) in harms.into_iter().enumerate() {
        let mut bytes = good.clone();
        harm(&mut bytes);
        fs::write(place.packed(), &bytes).unwrap();
        assert_eq!(place.logits(true), expected, "harm {number}");
        assert_eq!(fs::read(place.packed()).unwrap(), good, "harm {number} is mended");
    }
}

#[test]
fn another_model_under_the_same_name_is_packed_anew() {
    let place = Place::new(3);
    let old = place.logits(true);
    let (meta, other) = (fs::metadata(&place.model).unwrap(), gguf_bytes(4, &TinyShape::llama()));
    assert_eq!(meta.len(), other.len() as u64);
    fs::write(&place.model, other).unwrap();
    // The new file even has the old one's time, so only the sample of pages can tell them apart.
    File::options().write(true).open(&place.model).unwrap().set_modified(meta.modified().unwrap()).unwrap();
    let new = place.logits(true);
    assert_ne!(new, old);
    assert_eq!(new, place.logits(false));
}

#[test]
fn what_a_killed_process_left_is_cleared_and_what_is_being_written_is_not() {
    let place = Place::new(5);
    let draft = |id: &str| place.packed().with_extension(format!("packed-{id}"));
    for name in ["1", "2"] {
        fs::write(draft(name), "half").unwrap();
    }
    fs::write(draft("mine"), "a person's own").unwrap();
    let writing = File::open(draft("2")).unwrap();
    writing.lock().unwrap();
    place.logits(true);
    assert!(!draft("1").exists() && draft("2").exists() && draft("mine").exists());
}

#[test]
fn model_is_loaded_where_nothing_can_be_kept() {
    let place = Place::new(6);
    fs::create_dir(place.packed()).unwrap();
    assert_eq!(place.logits(true), place.logits(false));
    assert_eq!(fs::read_dir(place.model.parent().unwrap()).unwrap().count(), 2, "no draft is left");
}

/// The loaded model and a batch for it.
fn loaded(place: &Place) -> (crate::CpuModel, Batch) {
    let options = LoadOptions { keep_packed: true, ..LoadOptions::new(Arc::new(Cpu::new(2)), 1 << 20) };
    let mut batch = Batch::default();
    batch.push_span(&[3, 1, 4, 1, 5], 0, &[0]);
    batch.rows.push(4);
    let mut model = load(&place.model, &options).unwrap();
    model.commit_block(0);
    (model, batch)
}

#[test]
fn packed_file_that_is_cut_or_rewritten_while_it_is_used_ends_no_process() {
    let place = Place::new(7);
    let expected = place.logits(true);
    let cut = |bytes: u64| File::options().write(true).open(place.packed()).unwrap().set_len(bytes).unwrap();
    for fresh in [true, false] {
        for left in [0, 5000, 100_000] {
            if fresh {
                fs::remove_file(place.packed()).unwrap();
            }
            let (mut model, batch) = loaded(&place);
            model.forward(&batch, &|_, _| {}).unwrap();
            cut(left);
            let error = model.forward(&batch, &|_, _| {}).unwrap_err();
            assert!(matches!(error, crate::ForwardError::FileChanged(_)), "{error}");
            assert!(error.to_string().contains("m.gguf.packed"), "{error}");
            drop(model);
            assert_eq!(place.logits(true), expected, "what is loaded again is made anew");
        }
    }
}

#[test]
fn links_and_pipes_in_the_way_are_replaced_and_never_written_through() {
    let place = Place::new(8);
    let mine = place.model.with_file_name("mine");
    fs::write(&mine, "a person's own").unwrap();
    let draft = place.packed().with_extension(format!("packed-{}", std::process::id()));
    for link in [place.packed(), draft.clone(), place.packed().with_extension("packed-12")] {
        std::os::unix::fs::symlink(&mine, link).unwrap();
    }
    let pipe = place.packed().with_extension("packed-13");
    let _ = std::process::Command::new("mkfifo").arg(&pipe).status();
    let expected = place.logits(false);
    // The draft's name is taken, so the model is packed in memory without an error.
    assert_eq!(place.logits(true), expected);
    fs::remove_file(&draft).unwrap();
    assert_eq!(place.logits(true), expected);
    assert!(fs::symlink_metadata(place.packed()).unwrap().is_file(), "the link was replaced");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "a person's own");
}
