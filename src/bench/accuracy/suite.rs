//! Reads a suite, one JSON object per line. The fields tell which kind of suite it is; every mistake is reported with
//! its line before any model is asked.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use bandmaster_orchestrator::{Input, StrategyName};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::answer::number_in_answer;
use super::pattern::Pattern;
use crate::origin::hex;

/// What the items of a suite ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// `goal` and `answer_must`: an answer, and how the goal is worked on.
    Goals,
    /// `goal` and `best` only: just the choice of strategy.
    Strategy,
    /// `question`, and an `answer` with `####`: a number.
    Gsm8k,
    /// `prompt`, `test` and `entry_point`: code that passes the test.
    HumanEval,
    /// A question and its exact `answer`.
    Exact,
    /// A question, and regular expressions that the answer must match.
    Patterns,
}

impl Kind {
    /// The kind of an item with these fields.
    fn of(fields: &Fields) -> Option<Self> {
        let has = |name: &str| fields.get(name).is_some();
        let asks = has("question") || has("prompt");
        let with_mark = || fields.get("answer").and_then(Value::as_str).is_some_and(|a| a.contains("####"));
        match () {
            () if has("goal") && has("answer_must") => Some(Self::Goals),
            () if has("goal") && has("best") => Some(Self::Strategy),
            () if has("prompt") && has("test") && has("entry_point") => Some(Self::HumanEval),
            () if asks && has("answer_must") => Some(Self::Patterns),
            () if has("question") && with_mark() => Some(Self::Gsm8k),
            () if asks && has("answer") => Some(Self::Exact),
            () => None,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Goals => "goals",
            Self::Strategy => "strategy",
            Self::Gsm8k => "gsm8k",
            Self::HumanEval => "humaneval",
            Self::Exact => "exact",
            Self::Patterns => "patterns",
        }
    }
}

/// The best strategy for a goal, and others that are acceptable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrategyChoice {
    pub best: StrategyName,
    pub tolerated: Vec<StrategyName>,
}

impl StrategyChoice {
    /// Whether a strategy is the best or acceptable.
    #[must_use]
    pub fn allows(&self, strategy: StrategyName) -> bool {
        self.best == strategy || self.tolerated.contains(&strategy)
    }
}

/// Code to write, and its test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeCheck {
    /// The beginning of a module, up to the body of the wanted function.
    pub prompt: String,
    /// Python that defines `check`.
    pub test: String,
    /// Name of the wanted function.
    pub entry_point: String,
}

/// What makes an answer right.
#[derive(Debug, Clone)]
pub enum Expected {
    /// Matches all patterns, and its code passes the check if there is one.
    Matches {
        patterns: Vec<Pattern>,
        /// Python that is run after the answer's code.
        python_check: Option<String>,
    },
    /// Nothing: only the choice of strategy is judged.
    Nothing,
    /// This number, in canonical spelling.
    Number(String),
    /// This text, whatever its punctuation.
    Text(String),
    /// Code that passes its test.
    Code(CodeCheck),
}

#[derive(Debug, Clone)]
pub struct Item {
    /// As in the suite, or else the line's number.
    pub id: String,
    pub goal: String,
    pub inputs: Vec<Input>,
    pub expected: Expected,
    /// The best strategy, if the suite gives it.
    pub choice: Option<StrategyChoice>,
    /// At least this many tasks should run at the same time.
    pub parallel_min: usize,
    /// More tasks than this are a fault.
    pub tasks_max: Option<usize>,
}

impl Item {
    /// Whether Python has to be run to judge it.
    #[must_use]
    pub fn needs_python(&self) -> bool {
        match &self.expected {
            Expected::Code(_) => true,
            Expected::Matches { python_check, .. } => python_check.is_some(),
            _ => false,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Suite {
    /// File name without its folder.
    pub name: String,
    /// SHA-256 of the whole file in hex.
    pub sha256: String,
    /// The same for all items.
    pub kind: Kind,
    /// In the file's order; at least one.
    pub items: Vec<Item>,
}

#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// The file can't be read, or is not text.
    #[error("the suite {path} can't be read: {why}")]
    Read { path: PathBuf, why: String },
    #[error("the suite {path} is empty: expected one JSON object per line")]
    Empty { path: PathBuf },
    #[error("{path}, line {line}: {fault}")]
    Line {
        path: PathBuf,
        /// Line number, counted from 1.
        line: usize,
        fault: LineFault,
    },
}

#[derive(Debug, thiserror::Error)]
pub enum LineFault {
    /// Not a JSON object.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// The fields fit no known kind of suite.
    #[error(
        "the fields {fields} match no known suite: expected goal and answer_must, goal and best, question and answer, or \
         prompt, test and entry_point"
    )]
    Unknown {
        /// Names of the fields that are there.
        fields: String,
    },
    /// The fields are those of another kind of suite than the first item's.
    #[error("an item of a {found} suite, where line {first} is one of a {expected} suite: split the file")]
    Mixed {
        /// Kind of this item.
        found: &'static str,
        /// Line of the first item.
        first: usize,
        /// Kind of the first item.
        expected: &'static str,
    },
    /// A field with an unexpected value.
    #[error("`{field}`: {why}")]
    Field {
        field: &'static str,
        /// What was expected, or what is wrong.
        why: String,
    },
    /// Two items with the same id.
    #[error("the id {id} is already used on line {first}")]
    Duplicate {
        id: String,
        /// Line of the first of them.
        first: usize,
    },
}

impl Suite {
    /// Reads and checks a whole file.
    ///
    /// # Errors
    /// `SuiteError` naming file and line.
    pub fn read(path: &Path) -> Result<Self, SuiteError> {
        let fail = |why: String| SuiteError::Read { path: path.to_owned(), why };
        let bytes = fs::read(path).map_err(|error| fail(error.to_string()))?;
        let text = std::str::from_utf8(&bytes).map_err(|error| fail(format!("not UTF-8: {error}")))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Self::parse(path, name, text)
    }

    fn parse(path: &Path, name: String, text: &str) -> Result<Self, SuiteError> {
        let mut items = Vec::new();
        let mut kind: Option<(usize, Kind)> = None;
        let mut seen: HashMap<String, usize> = HashMap::new();
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        for (at, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
            let line = at + 1;
            let fail = |fault: LineFault| SuiteError::Line { path: path.to_owned(), line, fault };
            let fields = Fields::parse(text).map_err(fail)?;
            let found = Kind::of(&fields).ok_or_else(|| fail(fields.unknown()))?;
            let (first, expected) = *kind.get_or_insert((line, found));
            if found != expected {
                let (found, expected) = (found.name(), expected.name());
                return Err(fail(LineFault::Mixed { found, first, expected }));
            }
            let item = fields.item(found, line).map_err(fail)?;
            if let Some(first) = seen.insert(item.id.clone(), line) {
                return Err(fail(LineFault::Duplicate { id: item.id, first }));
            }
            items.push(item);
        }
        let (_, kind) = kind.ok_or_else(|| SuiteError::Empty { path: path.to_owned() })?;
        Ok(Self { name, sha256: hex(&Sha256::digest(text)), kind, items })
    }

    /// Whether Python has to be run to judge it.
    #[must_use]
    pub fn needs_python(&self) -> bool {
        self.items.iter().any(Item::needs_python)
    }
}

/// The error without a line number, because the parser sees each line on its own.
fn json_fault(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column", " at column")
}

/// The fields of a line. Fields that are null count as missing.
struct Fields(Map<String, Value>);

impl Fields {
    fn parse(text: &str) -> Result<Self, LineFault> {
        let mut fields: Map<String, Value> =
            serde_json::from_str(text).map_err(|error| LineFault::Json(json_fault(&error)))?;
        fields.retain(|_, value| !value.is_null());
        Ok(Self(fields))
    }

    fn unknown(&self) -> LineFault {
        let fields = self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        LineFault::Unknown { fields: if fields.is_empty() { "(none)".to_owned() } else { fields } }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    fn text(&self, field: &'static str) -> Result<&str, LineFault> {
        let text = self.get(field).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| LineFault::Field { field, why: "expected a text that is not empty".to_owned() })
    }

    fn count(&self, field: &'static str) -> Result<Option<usize>, LineFault> {
        let Some(value) = self.get(field) else { return Ok(None) };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        let fault = || LineFault::Field { field, why: "expected a whole number".to_owned() };
        count.map(Some).ok_or_else(fault)
    }

    fn item(&self, kind: Kind, line: usize) -> Result<Item, LineFault> {
        let asked = match kind {
            Kind::Goals | Kind::Strategy => "goal",
            _ if self.get("question").is_some() => "question",
            _ => "prompt",
        };
        Ok(Item {
            id: self.id(line)?,
            goal: self.text(asked)?.to_owned(),
            inputs: self.inputs()?,
            expected: self.expected(kind)?,
            choice: self.choice()?,
            parallel_min: self.count("min_parallel")?.unwrap_or(1),
            tasks_max: self.count("max_tasks")?,
        })
    }

    fn id(&self, line: usize) -> Result<String, LineFault> {
        let fault = |field| LineFault::Field { field, why: "expected a text or a number".to_owned() };
        for field in ["id", "task_id"] {
            match self.get(field) {
                None => {}
                Some(Value::String(id)) => return Ok(id.clone()),
                Some(Value::Number(id)) => return Ok(id.to_string()),
                Some(_) => return Err(fault(field)),
            }
        }
        Ok(line.to_string())
    }

    fn inputs(&self) -> Result<Vec<Input>, LineFault> {
        let fault = || LineFault::Field { field: "files", why: "expected names and texts".to_owned() };
        let Some(files) = self.get("files") else { return Ok(Vec::new()) };
        let input = |(name, text): (&String, &Value)| {
            let text = text.as_str().ok_or_else(fault)?;
            Ok(Input { name: name.clone(), text: text.to_owned() })
        };
        let mut inputs: Vec<Input> =
            files.as_object().ok_or_else(fault)?.iter().map(input).collect::<Result<_, _>>()?;
        // In the order in which a folder with these files is read.
        inputs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(inputs)
    }

    fn choice(&self) -> Result<Option<StrategyChoice>, LineFault> {
        let strategy = |field: &'static str, value: &Value| {
            let why = |_| LineFault::Field { field, why: format!("{value} is not a strategy") };
            serde_json::from_value::<StrategyName>(value.clone()).map_err(why)
        };
        let Some(best) = self.get("best") else { return Ok(None) };
        let tolerated = match self.get("tolerated") {
            None => Vec::new(),
            Some(Value::Array(all)) => {
                all.iter().map(|value| strategy("tolerated", value)).collect::<Result<_, _>>()?
            }
            Some(one) => vec![strategy("tolerated", one)?],
        };
        Ok(Some(StrategyChoice { best: strategy("best", best)?, tolerated }))
    }

    fn expected(&self, kind: Kind) -> Result<Expected, LineFault> {
        match kind {
            Kind::Strategy => Ok(Expected::Nothing),
            Kind::Goals | Kind::Patterns => {
                let python_check = self.get("python_check").map(|_| self.text("python_check")).transpose()?;
                let python_check = python_check.map(str::to_owned);
                Ok(Expected::Matches { patterns: self.patterns()?, python_check })
            }
            Kind::Gsm8k => {
                let why = || LineFault::Field { field: "answer", why: "no number after ####".to_owned() };
                Ok(Expected::Number(number_in_answer(self.text("answer")?).ok_or_else(why)?))
            }
            Kind::HumanEval => Ok(Expected::Code(CodeCheck {
                prompt: self.text("prompt")?.to_owned(),
                test: self.text("test")?.to_owned(),
                entry_point: self.text("entry_point")?.to_owned(),
            })),
            Kind::Exact => match self.get("answer") {
                Some(Value::Number(number)) => Ok(Expected::Text(number.to_string())),
                Some(Value::Bool(truth)) => Ok(Expected::Text(truth.to_string())),
                _ => Ok(Expected::Text(self.text("answer")?.to_owned())),
            },
        }
    }

    fn patterns(&self) -> Result<Vec<Pattern>, LineFault> {
        let field = "answer_must";
        let fault = || LineFault::Field { field, why: "expected a list of regular expressions".to_owned() };
        let one = |value: &Value| {
            let text = value.as_str().ok_or_else(fault)?;
            Pattern::new(text).map_err(|error| LineFault::Field { field, why: error })
        };
        match self.get(field) {
            Some(Value::Array(all)) => all.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
            None => Err(fault()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Suite, SuiteError> {
        Suite::parse(Path::new("suite.jsonl"), "suite.jsonl".to_owned(), text)
    }

    #[test]
    fn a_suite_is_recognised_by_its_fields() {
        for (line, kind) in [
            (r#"{"goal": "g", "files": {}, "best": "map", "answer_must": ["a"]}"#, Kind::Goals),
            (r#"{"goal": "g", "answer_must": []}"#, Kind::Goals),
            (r#"{"goal": "g", "best": "write-test-fix", "answer_must": null}"#, Kind::Strategy),
            (r#"{"question": "q", "answer": "so 2\n#### 2"}"#, Kind::Gsm8k),
            (r#"{"prompt": "def f():\n", "test": "t", "entry_point": "f"}"#, Kind::HumanEval),
            (r#"{"question": "q", "answer": "Paris"}"#, Kind::Exact),
            (r#"{"prompt": "q", "answer": 7}"#, Kind::Exact),
            (r#"{"prompt": "q", "answer_must": "(?i)paris"}"#, Kind::Patterns),
        ] {
            let suite = parse(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert_eq!(suite.kind, kind, "{line}");
            assert_eq!(suite.items[0].id, "1", "{line}");
        }
    }

    #[test]
    fn an_item_has_its_fields() {
        let suite = parse(
            "\u{feff}\n{\"id\": 5, \"goal\": \"g\", \"files\": {\"b.md\": \"B\", \"a.md\": \"A\"}, \"best\": \"map\", \
             \"tolerated\": [\"direct\"], \"answer_must\": [\"x\"], \"min_parallel\": 3, \"max_tasks\": 6, \
             \"python_check\": \"assert f()\"}\r\n",
        )
        .unwrap();
        let item = &suite.items[0];
        assert_eq!((item.id.as_str(), item.parallel_min, item.tasks_max), ("5", 3, Some(6)));
        assert_eq!(item.inputs.iter().map(|input| input.name.as_str()).collect::<Vec<_>>(), ["a.md", "b.md"]);
        let choice = item.choice.as_ref().unwrap();
        assert!(choice.allows(StrategyName::Direct) && choice.allows(StrategyName::Map));
        assert!(!choice.allows(StrategyName::Vote));
        assert!(suite.needs_python());
        assert_eq!(suite.sha256.len(), 64);
    }

    #[test]
    fn mistakes_name_the_line() {
        let good = r#"{"id": "a", "question": "q", "answer": "x"}"#;
        for (text, words) in [
            ("", "suite.jsonl is empty"),
            ("\n \n", "suite.jsonl is empty"),
            ("{\"goal\": ", "line 1: not a JSON object: EOF while parsing a value at column 9"),
            ("[1]", "line 1: not a JSON object"),
            (r#"{"goal": "g"}"#, "line 1: the fields goal match no known suite"),
            ("{}", "the fields (none)"),
            (
                &format!("{good}\n\n{{\"goal\": \"g\", \"best\": \"map\"}}"),
                "line 3: an item of a strategy suite",
            ),
            (
                &format!("{good}\n{{\"question\": \"q\", \"answer\": \"#### 5\"}}"),
                "a gsm8k suite, where line 1",
            ),
            (&format!("{good}\n{good}"), "line 2: the id a is already used on line 1"),
            (r#"{"id": "x", "goal": "", "best": "map"}"#, "`goal`: expected a text"),
            (r#"{"goal": "g", "best": "maps"}"#, "`best`: \"maps\" is not a strategy"),
            (r#"{"goal": "g", "best": "map", "tolerated": ["maps"]}"#, "`tolerated`"),
            (r#"{"goal": "g", "answer_must": ["(a"]}"#, "line 1: `answer_must`: (a"),
            (r#"{"goal": "g", "answer_must": [1]}"#, "expected a list of regular expressions"),
            (r#"{"goal": "g", "answer_must": [], "files": ["a"]}"#, "`files`"),
            (r#"{"goal": "g", "answer_must": [], "max_tasks": -1}"#, "`max_tasks`"),
            (r#"{"question": "q", "answer": "so #### none"}"#, "no number after ####"),
            (r#"{"id": [], "question": "q", "answer": "x"}"#, "`id`"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains("suite.jsonl") && error.contains(words), "{text}: {error}");
        }
        let missing = Suite::read(Path::new("/nowhere/suite.jsonl")).unwrap_err().to_string();
        assert!(missing.contains("/nowhere/suite.jsonl"), "{missing}");
    }
}
