//! The doctor: proves that every span is exactly one of published, claimed, condemned.
//!
//! Reads only. Each crate adds what it knows: here are frames, spans, claims, tombstones and folders;
//! `cairn-jobs` asks whether claims belong to live jobs, `cairn-sql` what the catalog publishes.

use std::collections::BTreeMap;

use crate::counter::{COUNTER_KEY, durable_end};
use crate::error::Result;
use crate::family::Family;
use crate::id::{SpanFamily, SpanId};
use crate::key;
use crate::open::{Engine, handle};
use crate::record::{CLAIM, split_claims_key};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Left by a crash, and removed by itself when the store is opened for writing. Nothing is lost.
    Warning,
    /// A promise is broken: data is missing, left over or unreadable.
    Error,
}

/// One thing the doctor found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where: a family with a key, a span, a folder.
    pub place: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

impl Finding {
    /// What a crash left.
    #[must_use]
    pub fn warning(
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        Self { severity: Severity::Warning, ..Self::error(place, message, hint) }
    }

    /// A broken promise.
    #[must_use]
    pub fn error(
        place: impl Into<String>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        let (place, message, hint) = (place.into(), message.into(), hint.into());
        Self { severity: Severity::Error, place, message, hint }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}: {} ({})", self.place, self.message, self.hint)
    }
}

/// Who owns a span.
#[derive(Debug, Default)]
struct Owners {
    published: bool,
    claimed: bool,
    condemned: bool,
}

impl Owners {
    fn count(&self) -> usize {
        usize::from(self.published) + usize::from(self.claimed) + usize::from(self.condemned)
    }
}

impl Engine {
    /// Checks frames, spans, claims, tombstones and folders. `published` are the spans that the
    /// catalog names. An empty answer means that nothing is lost and nothing is left.
    ///
    /// # Errors
    /// A storage error: the check could not be completed.
    pub fn doctor(&self, published: &BTreeMap<SpanId, SpanFamily>) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        self.check_frames(&mut findings)?;
        self.check_spans(published, &mut findings)?;
        self.check_folders(&mut findings)?;
        Ok(findings)
    }

    /// Every record outside of `rows` and `bulk` can be opened.
    fn check_frames(&self, findings: &mut Vec<Finding>) -> Result<()> {
        for family in Family::ALL.into_iter().filter(|family| family.is_sealed()) {
            for (key, record) in self.records(family, &[])? {
                if let Err(damage) = record {
                    findings.push(Finding::error(
                        format!("{family} {}", hex(&key)),
                        damage.to_string(),
                        "restore the store from a backup, or keep it for analysis",
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every span that is named or stored has exactly one owner, and an id that was handed out.
    fn check_spans(
        &self,
        published: &BTreeMap<SpanId, SpanFamily>,
        findings: &mut Vec<Finding>,
    ) -> Result<()> {
        let mut owners: BTreeMap<SpanId, Owners> = BTreeMap::new();
        for &id in published.keys() {
            owners.entry(id).or_default().published = true;
        }
        for (key, _) in self.records(Family::Claims, &[])? {
            match split_claims_key(&key) {
                Some((_, CLAIM, id)) => owners.entry(id).or_default().claimed = true,
                Some(_) => {}
                None if key.as_ref() == COUNTER_KEY.as_slice() => {}
                None => findings.push(Finding::error(
                    format!("claims {}", hex(&key)),
                    "a key of unknown form",
                    "written by a newer release? it is left alone",
                )),
            }
        }
        for (key, _) in self.records(Family::Tombstones, &[])? {
            if let Ok(id) = <[u8; 8]>::try_from(key.as_ref()) {
                let id = SpanId::from_raw(u64::from_be_bytes(id));
                owners.entry(id).or_default().condemned = true;
            }
        }
        for family in [SpanFamily::Rows, SpanFamily::Bulk] {
            for id in self.stored_spans(family)? {
                if published.get(&id).is_some_and(|&expected| expected != family) {
                    findings.push(Finding::error(
                        format!("span {id}"),
                        format!(
                            "has keys in {}, where the catalog does not look",
                            Family::from(family)
                        ),
                        "the rows there are invisible; report it as a bug",
                    ));
                }
                owners.entry(id).or_default();
            }
        }
        let end = durable_end(self)?;
        for (id, owner) in owners {
            if id.raw() >= end {
                findings.push(Finding::error(
                    format!("span {id}"),
                    format!("was never handed out (the counter stands at {end})"),
                    "the id would be used again; report it as a bug",
                ));
            }
            if owner.count() != 1 {
                findings.push(Finding::error(
                    format!("span {id}"),
                    match owner.count() {
                        0 => "has keys, but is not published, claimed or condemned".to_owned(),
                        _ => format!("has more than one owner: {owner:?}"),
                    },
                    "every span has exactly one owner; report it as a bug",
                ));
            }
        }
        Ok(())
    }

    /// Every folder of staged or dropped files belongs to a claim or a tombstone.
    fn check_folders(&self, findings: &mut Vec<Finding>) -> Result<()> {
        for name in self.orphan_folders()? {
            findings.push(Finding::warning(
                name,
                "nobody claims this folder",
                "it is removed when the store is opened for writing",
            ));
        }
        Ok(())
    }

    /// The spans that have a key in `family`, found by one seek each.
    ///
    /// # Errors
    /// A storage error.
    pub fn stored_spans(&self, family: SpanFamily) -> Result<Vec<SpanId>> {
        let handle = handle(self.db(), family.into())?;
        let mut iterator = self.db().raw_iterator_cf(&handle);
        iterator.seek_to_first();
        let mut spans = Vec::new();
        while let Some(key) = iterator.key() {
            let Some((id, _)) = key::split_row_key(key) else {
                let text = format!("a key of {} has no span: {}", Family::from(family), hex(key));
                return Err(crate::error::corrupt_body(family.into(), key, &text));
            };
            spans.push(id);
            iterator.seek(key::span_bounds(id).1);
        }
        iterator.status()?;
        Ok(spans)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().take(32).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
