//! `cairn doctor`: checks a store that no server has open, and changes nothing.
//!
//! It proves that every span is exactly one of published, claimed, condemned, that every record reads back, and that
//! no file is left that belongs to nobody. A folder that a crash left, and that the next start removes, is a warning.
//! Exit status: 0 no error found, 1 errors, 2 the store cannot be opened or a server has it open.

use crate::terminal::{complain, say};
use cairn_engine::{Finding, Severity};
use clap::Args;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Options of `cairn doctor`.
#[derive(Args)]
pub(crate) struct Doctor {
    /// The folder of the store.
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

impl Doctor {
    pub(crate) async fn run(self) -> ExitCode {
        let findings = match cairn_sql::doctor(&self.store) {
            Ok(findings) => findings,
            Err(error) => {
                if self.json {
                    say(&json!({ "error": error.message, "hint": error.hint }).to_string());
                }
                complain(&format!("cairn doctor: {}", error.message));
                if let Some(hint) = &error.hint {
                    complain(&format!("HINT: {hint}"));
                }
                return ExitCode::from(2);
            }
        };
        say(&if self.json { as_json(&findings).to_string() } else { as_text(&findings) });
        let wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
        if wrong { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

fn as_text(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "nothing found: every span is published, claimed or condemned, and nothing is left over".to_owned();
    }
    let mut lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
    let plural = if findings.len() == 1 { "" } else { "s" };
    lines.push(format!("{} finding{plural}", findings.len()));
    lines.join("\n")
}

fn as_json(findings: &[Finding]) -> Value {
    let findings = findings.iter().map(|finding| {
        let severity = match finding.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        json!({
            "severity": severity,
            "place": finding.place,
            "message": finding.message,
            "hint": finding.hint,
        })
    });
    json!({ "findings": findings.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_named_in_both_forms() {
        let finding = Finding::error("span 7", "claimed by nobody", "report this");
        assert_eq!(
            as_text(std::slice::from_ref(&finding)),
            "error: span 7: claimed by nobody (report this)\n1 finding"
        );
        assert_eq!(as_json(&[finding])["findings"][0]["place"], "span 7");
        assert!(as_text(&[]).starts_with("nothing found"));
    }
}
