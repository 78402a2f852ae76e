use std::os::unix::fs::MetadataExt;
use std::sync::Mutex;

use bandmaster_kernels::Cpu;
use tempfile::TempDir;

use super::*;
use crate::batch::Batch;
use crate::load::{LoadOptions, load};
use crate::model::Model;
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

    /// The logits of some tokens after loading.
    fn logits(&self, keep_packed: bool) -> Vec<u32> {
        let options = LoadOptions { keep_packed, ..LoadOptions::new(Arc::new(Cpu::new(2)), 1 << 20) };
        let mut model = load(&self.model, &options).unwrap();
        let mut batch = Batch::default();
        batch.push_span(&[3, 1, 4, 1, 5], 0, &[0]);
        batch.rows.push(4);
        model.commit(0);
        let row = Mutex::new(Vec::new());
        let keep = |_: usize, logits: &mut [f32]| {
            *row.lock().unwrap() = logits.iter().map(|logit| logit.to_bits()).collect();
        };
        model.forward(&batch, &keep).unwrap();
        row.into_inner().unwrap()
    }

    /// Which file lies there: a new one has another number.
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
    // Even with the time of the old one: the sample tells.
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
