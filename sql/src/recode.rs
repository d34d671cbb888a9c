//! Stored bytes through their decoders and back, for those who check the decoders from outside.

use cairn_engine::envelope::kind;
use cairn_engine::{Corruption, Family, Kind};

use crate::descriptor::record::Record;
use crate::entry::{self, Entry};

/// Decodes the body of a record of this crate, and encodes what was understood.
///
/// # Errors
/// [`Corruption`] for what no release has written, and for kinds of other crates.
pub fn recode(key: &[u8], kind: Kind, body: &[u8]) -> Result<Vec<u8>, Corruption> {
    if kind == kind::RUN_BLOCK {
        return entries(body).ok_or_else(|| Corruption::new(Family::Claims, key, "whole entries"));
    }
    Ok(Record::decode(key, kind, body)?.stored().body)
}

fn entries(body: &[u8]) -> Option<Vec<u8>> {
    let (mut at, mut again) = (0, Vec::with_capacity(body.len()));
    while at < body.len() {
        let Entry { key, value, origin } = Entry::take(body, &mut at)?;
        entry::put(&mut again, body.get(key)?, body.get(value)?, origin);
    }
    Some(again)
}
