//! What the engine stores about claims and tombstones, and under which keys.
//!
//! | family | key | record |
//! |---|---|---|
//! | `claims` | owner, `01`, id | claim: what is owned |
//! | `claims` | owner, `02`, id | intent: the batch that may be under way (see `ingest`) |
//! | `claims` | owner, `03`, id | mark: what has been ingested so far |
//! | `claims` | owner 0, `00` | counter: the first id that was never handed out, eight bytes big-endian |
//! | `tombstones` | id | tombstone: what is to be removed |
//!
//! Owners and ids are u64, big-endian. Bodies are protobuf but for the counter's. Decoding is total: what
//! no release has written is a [`Corruption`].

use bytes::Bytes;
use prost::Message;

use crate::envelope::{Kind, kind};
use crate::error::Corruption;
use crate::family::Family;
use crate::id::{Epoch, OwnerId, SpanFamily, SpanId, SpanRef};

/// The byte between owner and id in the keys of `claims`.
pub(crate) const CLAIM: u8 = 1;
pub(crate) const INTENT: u8 = 2;
pub(crate) const MARK: u8 = 3;

/// What a claim covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimKind {
    /// Keys of a new span, and its staging folder.
    Span(SpanFamily),
    /// A staging folder only.
    Scratch,
}

/// A durable claim of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The span id, and the name of the staging folder.
    pub id: SpanId,
    /// Who may write.
    pub owner: OwnerId,
    /// The epoch in which it was claimed. Later epochs of the same owner may use it too.
    pub epoch: Epoch,
    /// What is owned.
    pub what: ClaimKind,
}

impl Claim {
    /// The claimed span, unless this is scratch.
    #[must_use]
    pub fn span(&self) -> Option<SpanRef> {
        match self.what {
            ClaimKind::Span(family) => Some(SpanRef { id: self.id, family }),
            ClaimKind::Scratch => None,
        }
    }

    /// The same claim, used by a later epoch of its owner (after a restart, say).
    #[must_use]
    pub fn at(self, epoch: Epoch) -> Self {
        Self { epoch, ..self }
    }
    pub(crate) fn encode(&self) -> Vec<u8> {
        let keys = keys_to_u32(self.span().map(|span| span.family));
        ClaimRecord { epoch: self.epoch.raw(), keys }.encode_to_vec()
    }

    pub(crate) fn decode(key: &[u8], body: &[u8]) -> Result<Self, Corruption> {
        let bad = |expected: &str| Corruption::new(Family::Claims, key, expected);
        let (owner, _, id) = split_claims_key(key).ok_or_else(|| bad("a 17-byte key"))?;
        let record = ClaimRecord::decode(body).map_err(|_| bad("a claim record"))?;
        let keys = keys_from_u32(record.keys).ok_or_else(|| bad("a known kind of claim"))?;
        let what = keys.map_or(ClaimKind::Scratch, ClaimKind::Span);
        Ok(Self { id, owner, epoch: Epoch::from_raw(record.epoch), what })
    }
}

/// What is to be removed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The span id and the name of the staging folder.
    pub id: SpanId,
    /// The family that holds keys of the span; `None` for a staging folder alone.
    pub keys: Option<SpanFamily>,
    /// Who owned it last; 0 for nobody.
    pub owner: OwnerId,
    /// For people: `job canceled by user`, `DROP TABLE t`.
    pub reason: String,
    /// When, in milliseconds since the Unix epoch.
    pub condemned_at_ms: u64,
    /// Bytes on disk when it was condemned, as an estimate.
    pub bytes: u64,
    /// Whether readers may still have it open: it was published once.
    pub published: bool,
}

impl Tombstone {
    /// The condemned span, unless this is a staging folder alone.
    #[must_use]
    pub fn span(&self) -> Option<SpanRef> {
        self.keys.map(|family| SpanRef { id: self.id, family })
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let record = TombstoneRecord {
            keys: keys_to_u32(self.keys),
            owner: self.owner.raw(),
            reason: self.reason.clone(),
            condemned_at_ms: self.condemned_at_ms,
            bytes: self.bytes,
            published: self.published,
        };
        record.encode_to_vec()
    }

    pub(crate) fn decode(key: &[u8], body: &[u8]) -> Result<Self, Corruption> {
        let bad = |expected: &str| Corruption::new(Family::Tombstones, key, expected);
        let id: [u8; 8] = key.try_into().map_err(|_| bad("an 8-byte key"))?;
        let record = TombstoneRecord::decode(body).map_err(|_| bad("a tombstone record"))?;
        let keys = keys_from_u32(record.keys).ok_or_else(|| bad("a known kind of tombstone"))?;
        Ok(Self {
            id: SpanId::from_raw(u64::from_be_bytes(id)),
            keys,
            owner: OwnerId::from_raw(record.owner),
            reason: record.reason,
            condemned_at_ms: record.condemned_at_ms,
            bytes: record.bytes,
            published: record.published,
        })
    }
}

#[derive(Clone, PartialEq, Message)]
struct ClaimRecord {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    /// 0: scratch, 1: span in `rows`, 2: span in `bulk`.
    #[prost(uint32, tag = "2")]
    keys: u32,
}

/// The batch that may be under way.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct IntentRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) epoch: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) first_key: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) last_key: Bytes,
    #[prost(uint64, tag = "5")]
    pub(crate) rows: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) bytes: u64,
    #[prost(bytes = "bytes", tag = "7")]
    pub(crate) checkpoint: Bytes,
    #[prost(string, repeated, tag = "8")]
    pub(crate) files: Vec<String>,
}

impl IntentRecord {
    pub(crate) fn read(key: &[u8], body: Bytes) -> Result<Self, Corruption> {
        Self::decode(body).map_err(|_| Corruption::new(Family::Claims, key, "an intent record"))
    }
}

/// What has been ingested so far.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MarkRecord {
    /// Number of the last batch in the span.
    #[prost(uint64, tag = "1")]
    pub(crate) number: u64,
    #[prost(bytes = "bytes", tag = "2")]
    pub(crate) checkpoint: Bytes,
    /// Smallest and largest user key in the span.
    #[prost(bytes = "bytes", tag = "3")]
    pub(crate) first_key: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub(crate) last_key: Bytes,
    #[prost(uint64, tag = "5")]
    pub(crate) rows: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) bytes: u64,
}

impl MarkRecord {
    pub(crate) fn read(key: &[u8], body: Bytes) -> Result<Self, Corruption> {
        Self::decode(body).map_err(|_| Corruption::new(Family::Claims, key, "a mark record"))
    }
}

#[derive(Clone, PartialEq, Message)]
struct TombstoneRecord {
    #[prost(uint32, tag = "1")]
    keys: u32,
    #[prost(uint64, tag = "2")]
    owner: u64,
    #[prost(string, tag = "3")]
    reason: String,
    #[prost(uint64, tag = "4")]
    condemned_at_ms: u64,
    #[prost(uint64, tag = "5")]
    bytes: u64,
    #[prost(bool, tag = "6")]
    published: bool,
}

fn keys_to_u32(what: Option<SpanFamily>) -> u32 {
    match what {
        None => 0,
        Some(SpanFamily::Rows) => 1,
        Some(SpanFamily::Bulk) => 2,
    }
}

fn keys_from_u32(keys: u32) -> Option<Option<SpanFamily>> {
    match keys {
        0 => Some(None),
        1 => Some(Some(SpanFamily::Rows)),
        2 => Some(Some(SpanFamily::Bulk)),
        _ => None,
    }
}

/// Takes a key of `claims` apart.
pub(crate) fn split_claims_key(key: &[u8]) -> Option<(OwnerId, u8, SpanId)> {
    let (owner, rest) = key.split_first_chunk::<8>()?;
    let (&tag, id) = rest.split_first()?;
    let id: [u8; 8] = id.try_into().ok()?;
    let owner = OwnerId::from_raw(u64::from_be_bytes(*owner));
    Some((owner, tag, SpanId::from_raw(u64::from_be_bytes(id))))
}

/// Reads the body of the counter: the first id that was never handed out.
pub(crate) fn counter(key: &[u8], body: &[u8]) -> Result<u64, Corruption> {
    let body = body.try_into().map(u64::from_be_bytes);
    body.map_err(|_| Corruption::new(Family::Claims, key, "eight bytes"))
}

/// Reads the body of the format record: the version of the store's format.
pub(crate) fn format_version(key: &[u8], body: &[u8]) -> Result<u32, Corruption> {
    let body = body.try_into().map(u32::from_be_bytes);
    body.map_err(|_| Corruption::new(Family::Catalog, key, "four bytes"))
}

/// Decodes the body of a record of this crate, and encodes what was understood. For those who check the
/// decoders from outside.
///
/// # Errors
/// [`Corruption`] for what no release has written, and for kinds of other crates.
pub fn recode(key: &[u8], kind: Kind, body: &[u8]) -> Result<Vec<u8>, Corruption> {
    let body_bytes = || Bytes::copy_from_slice(body);
    let tagged = |tag: u8| split_claims_key(key).is_some_and(|(_, found, _)| found == tag);
    match kind {
        kind::CLAIM if tagged(CLAIM) => Ok(Claim::decode(key, body)?.encode()),
        kind::INTENT if tagged(INTENT) => {
            Ok(IntentRecord::read(key, body_bytes())?.encode_to_vec())
        }
        kind::MARK if tagged(MARK) => Ok(MarkRecord::read(key, body_bytes())?.encode_to_vec()),
        kind::TOMBSTONE => Ok(Tombstone::decode(key, body)?.encode()),
        kind::COUNTER => Ok(counter(key, body)?.to_be_bytes().to_vec()),
        kind::FORMAT => Ok(format_version(key, body)?.to_be_bytes().to_vec()),
        _ => Err(Corruption::new(Family::Claims, key, "a record of the engine under its key")),
    }
}
