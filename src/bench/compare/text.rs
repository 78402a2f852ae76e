//! A comparison as text and table cells, for the terminal and the HTML page.

use super::rounds::ROUNDS_MIN;
use super::{Comparison, Row, Verdict};

impl Comparison {
    /// What both sides have in common.
    #[must_use]
    pub fn head(&self) -> String {
        let work: Vec<String> =
            self.work.iter().map(|fact| format!("{}: {}", fact.name, fact.value)).collect();
        format!("{} on {}\n{}\n", self.compares, self.machine, work.join("; "))
    }

    /// The settings: one line if both sides are equal, else one line per side, because commands are long.
    #[must_use]
    pub fn setting_lines(&self) -> Vec<Vec<String>> {
        let mut lines = Vec::new();
        for cells in self.setting_cells().iter().skip(1) {
            let [name, a, b] = cells.as_slice() else { continue };
            if a == b {
                lines.push(line([name, "A, B", a]));
            } else {
                lines.extend([line([name, "A", a]), line(["", "B", b])]);
            }
        }
        lines
    }

    /// The settings of each side, below a header line.
    #[must_use]
    pub fn setting_cells(&self) -> Vec<Vec<String>> {
        let [a, b] = &self.files;
        let mut cells = vec![line(["", "A", "B"]), line(["file", a, b])];
        for setting in &self.settings {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            cells.push(vec![setting.name.to_owned(), shown(&setting.a), shown(&setting.b)]);
        }
        cells
    }

    /// The rows below a header line. The last cell is the verdict on B, or the reason for a refusal.
    #[must_use]
    pub fn cells(&self) -> Vec<Vec<String>> {
        let mut cells =
            vec![line(["row", "figure", "better", "A", "B", "samples", "B to A", "95 % interval", "B is"])];
        cells.extend(self.rows.iter().map(Row::cells));
        if self.rows.iter().all(|row| row.row.is_empty()) {
            for line in &mut cells {
                line.remove(0);
            }
        }
        cells
    }

    /// What to know before relying on the rows, one line each.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = self.notes.clone();
        let rows = self.rows.iter().filter(|row| row.verdict != Verdict::Refused);
        let fewest = rows.map(|row| row.a_samples.min(row.b_samples)).min();
        if let Some(fewest) = fewest.filter(|fewest| *fewest < ROUNDS_MIN) {
            remarks.push(format!(
                "{fewest} round{} per side: too few to tell how much rounds differ by chance, so nothing is \
                 decided; measure both sides with --repeat 5",
                if fewest == 1 { "" } else { "s" }
            ));
        }
        remarks.push(format!(
            "A and B are geometric means of their rounds. A row is better or worse if it differs by more than \
             {:.0} % and if, over all rows together, two equal sides would give such a result in fewer than one of twenty comparisons \
             (Student's t, Holm).",
            self.change_min * 100.0
        ));
        remarks
    }
}

fn line<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

impl Row {
    fn cells(&self) -> Vec<String> {
        let or_none = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), figure);
        let better = match self.better {
            super::metrics::Better::Higher => "higher",
            super::metrics::Better::Lower => "lower",
        };
        vec![
            self.row.clone(),
            self.metric.to_owned(),
            better.to_owned(),
            or_none(self.a),
            or_none(self.b),
            format!("{} / {}", self.a_samples, self.b_samples),
            self.change(),
            self.interval_shown(),
            self.verdict_cell(),
        ]
    }

    /// The row's name and figure.
    #[must_use]
    pub fn label(&self) -> String {
        if self.row.is_empty() { self.metric.to_owned() } else { format!("{}: {}", self.row, self.metric) }
    }

    fn change(&self) -> String {
        match (self.ratio, self.difference) {
            (Some(ratio), _) => format!("x {ratio:.3}"),
            (_, Some(difference)) => format!("{} points", points(difference)),
            _ => "-".to_owned(),
        }
    }

    fn interval_shown(&self) -> String {
        let Some([low, high]) = self.interval else { return "-".to_owned() };
        match self.difference {
            Some(_) => format!("{} .. {}", points(low), points(high)),
            None => format!("{low:.3} .. {high:.3}"),
        }
    }

    /// The verdict with its p-value, or the refusal.
    fn verdict_cell(&self) -> String {
        let verdict = self.refused.as_deref().unwrap_or(self.verdict.name());
        match self.p {
            Some(p) if p < 0.001 => format!("{verdict} (p below 0.001)"),
            Some(p) => format!("{verdict} (p {p:.3})"),
            None => verdict.to_owned(),
        }
    }
}

impl Verdict {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Better => "better",
            Self::Worse => "worse",
            Self::Undecided => "undecided",
            Self::Refused => "refused",
        }
    }
}

/// A difference in percentage points.
fn points(share: f64) -> String {
    format!("{:+.1}", share * 100.0)
}

/// With about four digits.
fn figure(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        100.0.. => format!("{value:.1}"),
        1.0.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
