//! Parses what a user types for a model: a catalog name, a path to a GGUF file, `hf:OWNER/REPO[:QUANT|FILE][@REV]`, or
//! a huggingface.co address of a repository or file.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};

use super::digest::hex;
use super::error::HubError;
use super::file_name::{FileName, is_plain_path, printable};

/// Most parts of a split model; each part is a separate request.
const PARTS_MAX: usize = 1000;
/// How many files of a repository an error lists.
const SHOWN_MAX: usize = 40;
/// Length of the beginning of a long reference that is kept in its local name.
const LOCAL_NAME_START: usize = 120;

/// A model as the user typed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// A name in the catalog or of an imported model.
    Name(String),
    /// A file on this machine.
    Path(PathBuf),
    /// A model on Hugging Face.
    Hub(HubReference),
}

/// A reference of the form `hf:OWNER/REPO[:QUANT|FILE][@REV]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HubReference {
    /// As `OWNER/REPO`, without a host.
    pub repo: String,
    pub select: Select,
    /// Branch, tag or commit.
    pub rev: String,
}

/// Which file of a repository to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Select {
    /// `Q4_K_M` if there is one, else the only file.
    Default,
    /// Name of a quantization, in upper or lower case.
    Quant(String),
    /// Path in the repository.
    File(String),
}

impl Reference {
    /// Parses what was typed. A word that names an existing file, or looks like a path, is a path.
    ///
    /// # Errors
    /// [`HubError::BadReference`] says what is wrong with an `hf:` reference or an empty name.
    pub(crate) fn parse(typed: &str) -> Result<Self, HubError> {
        if let Some(rest) = typed.strip_prefix("hf:") {
            return HubReference::parse(typed, rest).map(Self::Hub);
        }
        if let Some(rest) = address(typed) {
            return HubReference::parse_address(typed, rest).map(Self::Hub);
        }
        if typed.trim().is_empty() {
            return Err(bad_reference(typed, "a model's name is missing"));
        }
        let looks_like_path = typed.contains(['/', '\\']) || typed.to_lowercase().ends_with(".gguf");
        if looks_like_path || Path::new(typed).is_file() {
            return Ok(Self::Path(PathBuf::from(typed)));
        }
        Ok(Self::Name(typed.to_owned()))
    }
}

/// The path of a Hugging Face address, with or without a scheme; `None` for anything else.
fn address(typed: &str) -> Option<&str> {
    let scheme = ["https://", "http://"]
        .into_iter()
        .find(|scheme| typed.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let rest = &typed[scheme.map_or(0, str::len)..];
    let (host, path) = rest.split_once('/')?;
    let host = host.to_ascii_lowercase();
    ["huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co"].contains(&host.as_str()).then_some(path)
}

fn bad_reference(typed: &str, problem: &str) -> HubError {
    HubError::BadReference { typed: typed.to_owned(), problem: problem.to_owned() }
}

impl HubReference {
    /// Parses `OWNER/REPO[:QUANT|FILE][@REV]`, `OWNER/REPO/tree/REV`, or `OWNER/REPO/blob/REV/FILE` and similar
    /// addresses. Parts are percent-encoded as in a browser: `%20` is a space, `%2F` a slash within a branch's name.
    fn parse_address(typed: &str, path: &str) -> Result<Self, HubError> {
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        let path = path.strip_prefix("models/").unwrap_or(path);
        let words: Option<Vec<String>> = path.splitn(5, '/').map(percent_decoded).collect();
        let words = words.ok_or_else(|| {
            bad_reference(typed, "a `%` is not followed by two digits of a UTF-8 character")
        })?;
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [owner, repo] => Self::parse(typed, &format!("{owner}/{repo}")),
            [owner, repo, "tree", rev] => Self::checked(typed, &[owner, repo], Select::Default, rev),
            [owner, repo, "blob" | "resolve" | "raw", rev, file]
                if file.to_lowercase().ends_with(".gguf") =>
            {
                Self::checked(typed, &[owner, repo], Select::File((*file).to_owned()), rev)
            }
            _ => Err(bad_reference(
                typed,
                "expected the address of a repository, of a branch, or of a .gguf file in it",
            )),
        }
    }

    fn parse(typed: &str, rest: &str) -> Result<Self, HubError> {
        let (rest, rev) = rest.split_once('@').unwrap_or((rest, "main"));
        let (repo, select) = match rest.split_once(':') {
            Some((repo, file)) if file.to_lowercase().ends_with(".gguf") => {
                (repo, Select::File(file.to_owned()))
            }
            // `latest` is allowed because container images are named this way.
            Some((repo, quant)) if quant.eq_ignore_ascii_case("latest") => (repo, Select::Default),
            Some((repo, quant)) => (repo, Select::Quant(quant.to_owned())),
            None => (rest, Select::Default),
        };
        let owner_and_name: Vec<&str> = repo.splitn(2, '/').collect();
        Self::checked(typed, &owner_and_name, select, rev)
    }

    fn checked(typed: &str, owner_and_name: &[&str], select: Select, rev: &str) -> Result<Self, HubError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let is_plain = |part: &&str| !part.is_empty() && !part.starts_with('.') && part.chars().all(plain);
        if owner_and_name.len() != 2 || !owner_and_name.iter().all(is_plain) {
            return Err(bad_reference(typed, "expected hf:OWNER/REPO[:QUANT|FILE][@REV]"));
        }
        let named = match &select {
            Select::Default => true,
            Select::Quant(quant) => !quant.is_empty() && !quant.contains('/'),
            Select::File(file) => is_plain_path(file),
        };
        if !named || !is_plain_path(rev) {
            return Err(bad_reference(
                typed,
                "the part after `:` names a quantization or a .gguf file, after `@` a revision",
            ));
        }
        Ok(Self { repo: owner_and_name.join("/"), select, rev: rev.to_owned() })
    }

    /// The name to install it under: repository, file and revision, made safe for a folder name.
    #[must_use]
    pub(crate) fn local_name(&self) -> String {
        let mut name = self.repo.replace('/', "--");
        match &self.select {
            Select::Default => {}
            Select::Quant(word) | Select::File(word) => {
                name.push_str("--");
                name.push_str(word.trim_end_matches(".gguf"));
            }
        }
        if self.rev != "main" {
            name.push('@');
            name.push_str(&self.rev);
        }
        let safe = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '-' };
        let name: String = name.to_lowercase().chars().map(safe).collect();
        if FileName::new(&name).is_ok() {
            return name;
        }
        // Too long or not a valid name: a checksum keeps it distinct.
        let (start, sum) = (&name[..name.len().min(LOCAL_NAME_START)], hex(&Sha256::digest(&name)));
        format!("hf-{start}-{}", &sum[..16])
    }

    /// Chooses the model's files among a repository's files. Parts of a split model are in order.
    ///
    /// # Errors
    /// [`HubError::Remote`] lists the files that are there.
    pub(crate) fn choose(&self, files: &[String]) -> Result<Vec<String>, HubError> {
        let mut models: Vec<&String> = files.iter().filter(|file| is_model_file(file)).collect();
        models.sort();
        let matching: Vec<&String> = match &self.select {
            Select::File(wanted) => models.iter().copied().filter(|file| *file == wanted).collect(),
            Select::Quant(quant) => with_quant(&models, quant),
            Select::Default => {
                let usual = with_quant(&models, "Q4_K_M");
                if usual.is_empty() { models.clone() } else { usual }
            }
        };
        let whole = single(matching.iter().copied().filter(|file| split_part(file).is_none()));
        let chosen = whole.map(|whole| vec![whole.clone()]).or_else(|| all_parts(&matching, &models));
        if let Some(chosen) = chosen {
            let source = format!("hf:{}", self.repo);
            for file in &chosen {
                FileName::of_remote(&source, file)?;
            }
            return Ok(chosen);
        }
        let mut there: Vec<String> = models.iter().take(SHOWN_MAX).map(|file| printable(file)).collect();
        there.extend((models.len() > SHOWN_MAX).then(|| format!("{} more", models.len() - SHOWN_MAX)));
        let there = there.join(", ");
        let problem = match (models.is_empty(), matching.is_empty()) {
            (true, _) => "the repository holds no .gguf file".to_owned(),
            (false, true) => format!("no such file; the files are {there}"),
            (false, false) => format!("several files fit, name one with hf:{}:FILE: {there}", self.repo),
        };
        Err(HubError::Remote { what: format!("hf:{}", self.repo), problem })
    }
}

fn single<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

fn is_model_file(file: &str) -> bool {
    let lower = file.to_lowercase();
    lower.ends_with(".gguf") && !lower.contains("mmproj") && !lower.contains("imatrix")
}

/// Files whose name contains the quantization as a separate word: `Q4_K` does not match `Q4_K_M`. If there are none,
/// files with a word that begins with it and an underscore: `Q4` matches `Q4_0` and `Q4_K_M`, but not `Q40`.
fn with_quant<'a>(files: &[&'a String], quant: &str) -> Vec<&'a String> {
    let quant = quant.to_lowercase();
    let parts_words = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let holds = |file: &str, ends: &dyn Fn(char) -> bool| {
        let lower = file.to_lowercase();
        lower.match_indices(&quant).any(|(at, _)| {
            let (before, after) = (lower[..at].chars().next_back(), lower[at + quant.len()..].chars().next());
            before.is_none_or(parts_words) && after.is_none_or(ends)
        })
    };
    let of = |ends: &dyn Fn(char) -> bool| -> Vec<&'a String> {
        files.iter().copied().filter(|file| holds(file, ends)).collect()
    };
    let exact = of(&parts_words);
    if exact.is_empty() { of(&|c| parts_words(c) || c == '_') } else { exact }
}

/// Decodes `%41` and similar; `None` if a `%` is malformed or the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let is_escape = |(at, _): (usize, &str)| {
        let digits = text.as_bytes().get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    // The decoder leaves malformed escapes as they are.
    let is_well_formed = text.match_indices('%').all(is_escape);
    let decoded = percent_decode_str(text).decode_utf8().ok().filter(|_| is_well_formed);
    decoded.map(Cow::into_owned)
}

/// `(stem, part, parts)` of `stem-00001-of-00003.gguf`.
pub(super) fn split_part(file: &str) -> Option<(&str, usize, usize)> {
    let stem = file.strip_suffix(".gguf")?;
    let (stem, parts) = stem.rsplit_once("-of-")?;
    let (stem, part) = stem.rsplit_once('-')?;
    let number = |digits: &str| digits.len() == 5 && digits.bytes().all(|digit| digit.is_ascii_digit());
    (number(part) && number(parts)).then_some(())?;
    Some((stem, part.parse().ok()?, parts.parse().ok()?))
}

/// All parts of the split model that `matching` belongs to; `None` if they belong to several, or if a part is missing.
fn all_parts(matching: &[&String], models: &[&String]) -> Option<Vec<String>> {
    let stem_of = |file: &str| split_part(file).map(|(stem, _, parts)| (stem.to_owned(), parts));
    let (stem, parts) = stem_of(matching.first()?)?;
    if matching.iter().any(|file| stem_of(file).is_none_or(|other| other != (stem.clone(), parts))) {
        return None;
    }
    let there: BTreeSet<&str> = models.iter().map(|file| file.as_str()).collect();
    let wanted = (1..=parts).map(|part| format!("{stem}-{part:05}-of-{parts:05}.gguf"));
    let wanted: Option<Vec<String>> =
        wanted.map(|file| there.contains(file.as_str()).then_some(file)).collect();
    wanted.filter(|wanted| (1..=PARTS_MAX).contains(&wanted.len()))
}

/// Up to three of `known` that are similar to `name`, most similar first.
#[must_use]
pub fn similar_names<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let name = name.to_lowercase();
    let reach = (name.chars().count() / 3).max(2);
    let mut near: Vec<(usize, &str)> = known
        .filter_map(|candidate| {
            let distance = strsim::levenshtein(&name, candidate);
            let inside = name.len() >= 3 && (candidate.contains(&name) || name.contains(candidate));
            (distance <= reach || inside).then_some((distance, candidate))
        })
        .collect();
    near.sort();
    near.dedup();
    near.truncate(3);
    near.into_iter().map(|(_, candidate)| candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_hub_are_references() {
        let check = |typed: &str, same: &str| {
            let parsed = Reference::parse(typed).unwrap_or_else(|error| panic!("{typed}: {error}"));
            assert_eq!(parsed, Reference::parse(same).unwrap(), "{typed}");
        };
        check("https://huggingface.co/o/r", "hf:o/r");
        check("https://huggingface.co/o/r/", "hf:o/r");
        check("http://www.huggingface.co/o/r?library=x#top", "hf:o/r");
        check("HTTPS://HuggingFace.co/o/r", "hf:o/r");
        check("huggingface.co/o/r", "hf:o/r");
        check("hf.co/o/r:Q4", "hf:o/r:Q4");
        check("hf.co/o/r:latest", "hf:o/r");
        check("hf:o/r:LATEST@v1", "hf:o/r@v1");
        check("https://huggingface.co/o/r%2Dx/tree/refs%2Fpr%2F1", "hf:o/r-x@refs/pr/1");
        check("https://huggingface.co/o/r/blob/main/My%20Model%2B.gguf", "hf:o/r:My Model+.gguf");
        check("https://huggingface.co/o/r/blob/main/gr%C3%B6%C3%9Fe.gguf", "hf:o/r:größe.gguf");
        check("https://hf.co/o/r:Q4_K_M@v1", "hf:o/r:Q4_K_M@v1");
        check("https://huggingface.co/o/r/tree/main", "hf:o/r");
        check("https://huggingface.co/o/r/tree/v2", "hf:o/r@v2");
        check("https://huggingface.co/o/r/blob/main/x.gguf", "hf:o/r:x.gguf");
        check("https://huggingface.co/o/r/resolve/main/x.gguf?download=true", "hf:o/r:x.gguf");
        check(
            "huggingface.co/o/r/resolve/abc/sub/x-00001-of-00002.gguf",
            "hf:o/r:sub/x-00001-of-00002.gguf@abc",
        );
    }

    #[test]
    fn a_file_whose_name_has_signs_that_part_references_is_named_by_its_address() {
        let typed = "https://huggingface.co/o/r/blob/v1/a%40b.gguf";
        let Ok(Reference::Hub(reference)) = Reference::parse(typed) else { panic!("{typed}") };
        assert_eq!(reference.select, Select::File("a@b.gguf".to_owned()));
        assert_eq!((reference.repo.as_str(), reference.rev.as_str()), ("o/r", "v1"));
    }

    #[test]
    fn the_beginning_of_a_quantization_chooses_the_only_file_or_asks() {
        let choose = |quant: &str, files: &[&str]| {
            let Ok(Reference::Hub(reference)) = Reference::parse(&format!("hf.co/o/r:{quant}")) else {
                panic!("{quant}")
            };
            let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
            reference.choose(&files).map_err(|error| error.to_string())
        };
        let one = |file: &str| Ok(vec![file.to_owned()]);
        assert_eq!(choose("Q4", &["m-Q4_0.gguf", "m-Q8_0.gguf"]), one("m-Q4_0.gguf"));
        assert_eq!(choose("q4_k", &["m.Q4_K_M.gguf", "m.Q4_0.gguf"]), one("m.Q4_K_M.gguf"));
        assert_eq!(choose("Q4_K", &["m-Q4_K.gguf", "m-Q4_K_M.gguf"]), one("m-Q4_K.gguf"));
        assert_eq!(choose("latest", &["m-Q4_K_M.gguf", "m-Q8_0.gguf"]), one("m-Q4_K_M.gguf"));
        let several = choose("Q4", &["m-Q4_0.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"]).unwrap_err();
        assert!(several.contains("several files fit") && several.contains("m-Q4_0.gguf"), "{several}");
        let none = choose("Q4", &["m-Q40.gguf", "mQ4_0.gguf"]).unwrap_err();
        assert!(none.contains("no such file"), "{none}");
        let parts = ["m-Q4_0-00001-of-00002.gguf", "m-Q4_0-00002-of-00002.gguf"];
        assert_eq!(choose("Q4", &parts), Ok(parts.map(str::to_owned).to_vec()));
    }

    #[test]
    fn addresses_of_something_else_are_refused_or_paths() {
        for typed in [
            "https://huggingface.co/o",
            "https://huggingface.co/",
            "https://huggingface.co/datasets/o/r",
            "https://huggingface.co/o/r/discussions/1",
            "https://huggingface.co/o/r/blob/main/README.md",
            "https://huggingface.co/o/r/blob/main/../x.gguf",
            "https://huggingface.co/o/r/blob/main/%2e%2e/x.gguf",
            "https://huggingface.co/o/r/blob/main/..%2Fx.gguf",
            "https://huggingface.co/o/r/blob/main/%2Fetc%2Fx.gguf",
            "https://huggingface.co/o/r/blob/main/x%00.gguf",
            "https://huggingface.co/o/r/blob/main/x%zz.gguf",
            "https://huggingface.co/o/r/blob/main/x%F.gguf",
            "https://huggingface.co/o/r/blob/main/%FF.gguf",
            "https://huggingface.co/o/%2e%2e",
            "https://huggingface.co/../r",
        ] {
            assert!(Reference::parse(typed).is_err(), "{typed}");
        }
        for path in ["hf.co.example/o/r", "./hf.co/o/r", "models/hf.co"] {
            assert_eq!(Reference::parse(path).unwrap(), Reference::Path(PathBuf::from(path)));
        }
    }
}
