//! The installed band: what the catalog promises is what the files hold.

use bandmaster::hub::{Catalog, Home, Hub, ImportOptions, Remote, Role};
use bandmaster_test_support::model;

#[test]
fn real_files_are_known_by_their_checksums() {
    let dir = tempfile::tempdir().unwrap();
    let remote = Remote {
        endpoint: "http://127.0.0.1:1".to_owned(),
        token: None,
        cache_dir: None,
        pythons: Vec::new(),
    };
    let hub = Hub::with_remote(Home::under(dir.path()), true, remote);
    for (name, file) in [("smollm2-135m", "smollm2-135m.gguf"), ("minilm-l6-v2", "minilm-l6-v2")] {
        let Some(path) = model(file) else { continue };
        let options = ImportOptions { name: None, role: None, copy: false };
        let (model, _) = hub.import(&path, &options, &mut |_| {}).unwrap();
        let entry = Catalog::builtin().get(name).unwrap();
        assert_eq!(
            (model.name.as_str(), model.role, model.bytes),
            (name, entry.role, entry.bytes_estimate())
        );
        assert_eq!(model.path.is_dir(), entry.role == Role::Embeddings);
        hub.verify(&model, &mut |_| {}).unwrap();
    }
}
