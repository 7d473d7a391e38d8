use std::time::Instant;

use anyhow::{Context as _, Result};
use local_stack::Checkout;
use serde::Serialize;
use serde_json::Value;

/// One figure. `ratio` is `value / reference`.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    reference: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference_is: Option<String>,
    ratio: Option<f64>,
    /// When: figures of another run stay until they are measured again.
    measured_at: String,
}

#[derive(Debug)]
pub(crate) struct Report {
    figures: Vec<Figure>,
    begun: Instant,
}

impl Report {
    pub(crate) fn begin() -> Self {
        Self {
            figures: Vec::new(),
            begun: Instant::now(),
        }
    }

    /// What is being done, with the time since the beginning: some of it takes minutes.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("{:>5}s  {text}", self.begun.elapsed().as_secs());
    }

    /// A figure without a limit to compare with.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.push(name.into(), value, unit, None);
    }

    /// A figure beside what the machine can do, or what is aimed at.
    pub(crate) fn compare(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        reference: f64,
        is: &str,
    ) {
        self.push(name.into(), value, unit, Some((reference, is.to_owned())));
    }

    #[allow(clippy::float_arithmetic)]
    fn push(&mut self, name: String, value: f64, unit: &'static str, reference: Option<(f64, String)>) {
        let ratio = reference
            .as_ref()
            .filter(|(reference, _)| *reference > 0.0)
            .map(|(reference, _)| value / reference);
        let (reference, reference_is) = reference.unzip();
        let figure = Figure {
            name,
            value,
            unit,
            reference,
            reference_is,
            ratio,
            measured_at: chrono::Utc::now().to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        };
        eprintln!("{}", figure.line());
        self.figures.push(figure);
    }

    /// Prints the table and writes the JSON.
    pub(crate) fn end(self) -> Result<()> {
        let [figure, value, unit, ratio, to] = ["figure", "value", "unit", "ratio", "to"];
        println!("\n{figure:<34} {value:>14} {unit:<9} {ratio:>8}  {to}");
        for figure in &self.figures {
            println!("{}", figure.line());
        }
        let folder = Checkout::find()?.state().join("bench");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let file = folder.join("latest.json");
        let all = self.beside(&std::fs::read(&file).unwrap_or_default())?;
        std::fs::write(&file, serde_json::to_string_pretty(&all)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        eprintln!("\nas JSON in {}", file.display());
        Ok(())
    }

    /// These figures, and those of earlier runs that this one has not measured again.
    fn beside(&self, earlier: &[u8]) -> Result<Vec<Value>> {
        // A file that is not ours to read is written anew.
        let mut all: Vec<Value> = serde_json::from_slice(earlier).unwrap_or_default();
        let is_new = |name: &Value| self.figures.iter().any(|figure| name == figure.name.as_str());
        all.retain(|figure| !is_new(&figure["name"]));
        for figure in &self.figures {
            all.push(serde_json::to_value(figure)?);
        }
        Ok(all)
    }
}

impl Figure {
    fn line(&self) -> String {
        let ratio = self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
        let reference = match (&self.reference, &self.reference_is) {
            (Some(reference), Some(is)) => format!("{is} ({})", number(*reference)),
            _ => String::new(),
        };
        format!(
            "{:<34} {:>14} {:<9} {:>8}  {}",
            self.name,
            number(self.value),
            self.unit,
            ratio,
            reference
        )
    }
}

/// Whole and grouped if it is large, with two places if it is small.
fn number(value: f64) -> String {
    if value.abs() < 1000.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_replaces_its_older_self_and_leaves_the_others() {
        let mut report = Report::begin();
        report.compare("a", 3.0, "ms", 2.0, "mark");
        let earlier = br#"[{"name": "a", "value": 1.0}, {"name": "b", "value": 2.0}]"#;
        let all = report.beside(earlier).unwrap();
        let values: Vec<(&str, f64)> = all
            .iter()
            .map(|figure| {
                (
                    figure["name"].as_str().unwrap(),
                    figure["value"].as_f64().unwrap(),
                )
            })
            .collect();
        assert_eq!(values, [("b", 2.0), ("a", 3.0)]);
        assert_eq!(all[1]["ratio"], 1.5);
        assert_eq!(report.beside(b"half a fi").unwrap().len(), 1);
    }

    #[test]
    fn large_numbers_are_grouped() {
        assert_eq!(number(12.346), "12.35");
        assert_eq!(number(1_234_567.4), "1 234 567");
    }
}
