//! Claims: what a job is going to write, made durable before the first byte.
//!
//! A claim draws an id from the never-reused counter. A *span* claim owns the keys of that span and
//! the staging folder of the same id; a *scratch* claim owns the folder only (sorted runs).
//! Everything claimed is invisible: no catalog names it. It ends in one of two ways, both inside a
//! batch of the caller: [`Engine::release_claims`] when the job publishes (its spans become the
//! catalog's), or [`Engine::condemn`] when it is cancelled or fails (each claim becomes a
//! tombstone). Neither needs the job's code, nor looks at rows: the cost is the number of claims.
//!
//! What is stored about a claim, and under which keys, is in `record.rs`.
//!
//! Claiming and condemning the same owner must not run at the same time; `cairn-jobs` holds the
//! job's mutex around both, and condemns again in the batch that ends the job.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::batch::{Batch, Sync};
use crate::disk::{make_folders, sync_folder};
use crate::envelope::kind;
use crate::error::{EngineError, Result};
use crate::family::Family;
use crate::id::{Epoch, OwnerId, SpanId, SpanRef};
use crate::open::Engine;
use crate::record::{CLAIM, Claim, ClaimKind, INTENT, MARK, Tombstone, split_claims_key};

/// The folder of staging folders in a store.
pub(crate) const STAGING: &str = "staging";

/// The key of a claim, intent or mark.
pub(crate) fn claims_key(owner: OwnerId, tag: u8, id: SpanId) -> [u8; 17] {
    let mut key = [0; 17];
    key[..8].copy_from_slice(&owner.raw().to_be_bytes());
    key[8] = tag;
    key[9..].copy_from_slice(&id.raw().to_be_bytes());
    key
}

impl Engine {
    /// Claims a new span or scratch folder for `owner`, durably, and makes its staging folder.
    /// Crash points: `claim.before`, `claim.after`.
    ///
    /// # Errors
    /// [`EngineError::Fenced`] if `owner` has moved on to a later epoch; a storage error. Nothing is
    /// claimed then, though a crash may leave an unused claim, which the owner's end condemns.
    pub fn claim(&self, owner: OwnerId, epoch: Epoch, what: ClaimKind) -> Result<Claim> {
        let id = self.new_span_id()?;
        let claim = Claim { id, owner, epoch, what };
        let mut batch = Batch::new();
        let key = claims_key(owner, CLAIM, id);
        batch.put_record(Family::Claims, &key, kind::CLAIM, &claim.encode());
        self.crash().point("claim.before")?;
        self.commit_fenced(owner, epoch, batch, Sync::Yes)?;
        self.crash().point("claim.after")?;
        self.make_staging_dir(&claim)?;
        Ok(claim)
    }

    /// All claims of `owner`, by id.
    ///
    /// # Errors
    /// A storage error, or [`EngineError::Corruption`] for a damaged claim: an owner with one
    /// cannot be cleaned up without a person looking at it.
    pub fn claims_of(&self, owner: OwnerId) -> Result<Vec<Claim>> {
        let mut prefix = owner.raw().to_be_bytes().to_vec();
        prefix.push(CLAIM);
        self.records(Family::Claims, &prefix)?
            .into_iter()
            .map(|(key, record)| Ok(Claim::decode(&key, &record?.1)?))
            .collect()
    }

    /// Every claim of the store: what the doctor and the start-up sweep compare with.
    ///
    /// # Errors
    /// As [`Engine::claims_of`].
    pub fn claims(&self) -> Result<Vec<Claim>> {
        let mut claims = Vec::new();
        for (key, record) in self.records(Family::Claims, &[])? {
            if split_claims_key(&key).is_some_and(|(_, tag, _)| tag == CLAIM) {
                claims.push(Claim::decode(&key, &record?.1)?);
            }
        }
        Ok(claims)
    }

    /// Turns every claim of `owner` into a tombstone, inside the caller's batch. Returns their ids:
    /// hand them to [`Engine::condemned`] once the batch is committed and the owner's latch is
    /// raised. Calling it again, or for an owner without claims, is harmless.
    ///
    /// # Errors
    /// As [`Engine::claims_of`].
    pub fn condemn(
        &self,
        batch: &mut Batch,
        owner: OwnerId,
        reason: &str,
        now_ms: u64,
    ) -> Result<Vec<SpanId>> {
        let claims = self.claims_of(owner)?;
        Ok(self.condemn_claims(batch, &claims, reason, now_ms))
    }

    fn condemn_claims(
        &self,
        batch: &mut Batch,
        claims: &[Claim],
        reason: &str,
        now_ms: u64,
    ) -> Vec<SpanId> {
        for claim in claims {
            let tombstone = Tombstone {
                id: claim.id,
                keys: claim.span().map(|span| span.family),
                owner: claim.owner,
                reason: reason.to_owned(),
                condemned_at_ms: now_ms,
                bytes: self.bytes_held(claim),
                published: false,
            };
            tombstone.put(batch);
            self.forget_claim(batch, claim);
        }
        claims.iter().map(|claim| claim.id).collect()
    }

    /// Condemns published spans (DROP, TRUNCATE, a swapped index) inside the caller's batch. They
    /// are reclaimed once no view opened before [`Engine::condemned`] may read them.
    pub fn condemn_spans(
        &self,
        batch: &mut Batch,
        spans: &[SpanRef],
        reason: &str,
        owner: OwnerId,
        now_ms: u64,
    ) {
        for &span in spans {
            let tombstone = Tombstone {
                id: span.id,
                keys: Some(span.family),
                owner,
                reason: reason.to_owned(),
                condemned_at_ms: now_ms,
                bytes: self.span_bytes(span),
                published: true,
            };
            tombstone.put(batch);
        }
    }

    /// Ends the claims of an owner that publishes, inside the caller's batch: the spans in `keep`
    /// now belong to whoever the batch says; every other claim becomes a tombstone. Returns the
    /// condemned ids, as [`Engine::condemn`] does.
    ///
    /// # Errors
    /// As [`Engine::claims_of`]; [`EngineError::Invalid`] if `keep` names a span that `owner` did not
    /// claim.
    pub fn release_claims(
        &self,
        batch: &mut Batch,
        owner: OwnerId,
        keep: &[SpanId],
        now_ms: u64,
    ) -> Result<Vec<SpanId>> {
        let claims = self.claims_of(owner)?;
        let claimed =
            |id: &SpanId| claims.iter().any(|claim| claim.id == *id && claim.span().is_some());
        if let Some(stranger) = keep.iter().find(|id| !claimed(id)) {
            return Err(EngineError::Invalid(format!(
                "span {stranger} cannot be published: owner {owner} has not claimed it"
            )));
        }
        let (kept, rest): (Vec<Claim>, Vec<Claim>) =
            claims.into_iter().partition(|claim| keep.contains(&claim.id));
        for claim in &kept {
            self.forget_claim(batch, claim);
            // Empty by now: its files were moved in. If the batch is not committed after all, the
            // owner's next attempt makes the folder again; a folder left over is swept at open.
            let _ = self.disk().remove_folder(&self.staging_dir(claim.id));
        }
        Ok(self.condemn_claims(batch, &rest, "left over by its job", now_ms))
    }

    /// The staging folder of a claim: `<store>/staging/<id, 16 hex digits>`.
    #[must_use]
    pub fn staging_dir(&self, id: SpanId) -> PathBuf {
        self.staging_root().join(staging_name(id))
    }

    pub(crate) fn staging_root(&self) -> PathBuf {
        self.path().join(STAGING)
    }

    /// Makes the staging folder of a claim, if a crash came before that, and its name safe from a loss of power:
    /// a checkpoint may name files in it. Answers where it is. Under the latch, as every write: after a cancel
    /// nobody would remove it any more.
    ///
    /// # Errors
    /// [`EngineError::Fenced`] if the owner has moved on to a later epoch; it cannot be made or synced.
    pub fn make_staging_dir(&self, claim: &Claim) -> Result<PathBuf> {
        let latch = self.latch(claim.owner, claim.epoch);
        let _inside = latch.enter(claim.epoch)?;
        let dir = self.staging_dir(claim.id);
        make_folders(self.disk().as_ref(), &dir)?;
        // Also if it was there: the process that made it may have died before it was synced.
        sync_folder(self.disk().as_ref(), &self.staging_root())?;
        Ok(dir)
    }

    pub(crate) fn forget_claim(&self, batch: &mut Batch, claim: &Claim) {
        for tag in [CLAIM, INTENT, MARK] {
            batch.delete(Family::Claims, &claims_key(claim.owner, tag, claim.id));
        }
    }

    /// Bytes that a claim holds on disk now, as well as can be told without reading it.
    fn bytes_held(&self, claim: &Claim) -> u64 {
        let staged = folder_bytes(&self.staging_dir(claim.id));
        staged + claim.span().map_or(0, |span| self.span_bytes(span))
    }
}

/// The name of a staging folder.
pub(crate) fn staging_name(id: SpanId) -> String {
    format!("{:016x}", id.raw())
}

/// The id that a staging folder is named after.
pub(crate) fn staging_id(name: &str) -> Option<SpanId> {
    let id = u64::from_str_radix(name, 16).ok().map(SpanId::from_raw)?;
    (staging_name(id) == name).then_some(id)
}

/// Bytes of the blocks of the files in `dir`; 0 if there is no such folder.
pub(crate) fn folder_bytes(dir: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let metas = entries.flatten().filter_map(|entry| entry.metadata().ok());
    metas.map(|meta| meta.blocks() * 512).sum()
}
