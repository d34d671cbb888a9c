//! The work of an import, from any checkpoint to the end.
//!
//! What is claimed, in this order: the first span (direct road), the scratch folder (once rows are out
//! of order), the second span (once merging). Claims are durable before they are used and are found
//! again by their order, so a crash between a claim and the next checkpoint leaves nothing unknown.

use std::ops::Bound;
use std::sync::Arc;

use cairn_engine::{Batch, Claim, ClaimKind, Class, SpanFamily, SpanId};
use cairn_jobs::{JobError, Result, ThreadContext};

use super::args::{ImportArgs, ImportCheckpoint, InputPlace, Road, Run};
use super::batches::Batches;
use super::merge::{Merge, MergeError, MergeSource, Ordered as _, SpanReader};
use super::rows::{Block, Encoder};
use super::run::{RunFolder, RunReader, RunWriter};
use super::sort::Sorter;
use super::source::Input;
use super::{ImportKind, Limits, publish};

type Cx = ThreadContext<ImportKind>;

/// Rows between two looks at the stop flag: less than a millisecond of work.
const ROWS_PER_LOOK: u64 = 256;

/// Bytes of rows, of a run or of a merge, for which budget is taken at once.
const BUDGET_BYTES: u64 = 1 << 20;

/// Part of the work that is done when all files are in runs.
const SORTED_FRACTION: f64 = 0.6;

/// Part of the work that is done before publishing.
const WRITTEN_FRACTION: f64 = 0.99;

/// Does the work of an import.
pub(super) fn run(kind: &ImportKind, cx: &Cx) -> Result<()> {
    let args = Arc::new(cx.args().clone());
    let table = publish::table(&kind.catalog, &args)?;
    let mut claims = Claims::find(cx);
    let first = claims.first_span(cx)?;
    let encoder = Encoder::new(&args, &table, first.id)?;
    let input = Arc::new(Input::new(
        kind.external.clone(),
        Arc::clone(&args),
        encoder,
        kind.limits.block_bytes,
    ));
    let limits = limits(kind, cx);

    let mut checkpoint = cx.checkpoint();
    let resumed_at = checkpoint.rows_read;
    let work = Work { cx, args: &args, input: &input, limits, resumed_at };
    if matches!(checkpoint.road(), Road::Direct | Road::Sort) {
        work.read(&mut claims, &first, &mut checkpoint)?;
    }
    if checkpoint.road() == Road::Merge {
        work.merge(&mut claims, &first, &mut checkpoint)?;
    }
    cx.progress(|at| {
        "publish".clone_into(&mut at.phase);
        at.fraction = WRITTEN_FRACTION;
        (at.rows, at.bytes, at.bytes_total) = (checkpoint.rows, checkpoint.bytes, checkpoint.bytes);
        at.message.clear();
    });
    let published = claims.spans.last().unwrap_or(&first);
    publish::publish(cx, &kind.catalog, &args, input.encoder(), published)
}

fn limits(kind: &ImportKind, cx: &Cx) -> Limits {
    let settings = cx.settings();
    Limits {
        batch_bytes: kind.limits.batch_bytes.min(settings.get_bytes("bulkio.ingest.max_bytes")),
        memory_bytes: kind.limits.memory_bytes.min(settings.get_bytes("bulkio.import.memory")),
        ..kind.limits
    }
}

/// What the job has claimed so far, oldest first.
struct Claims {
    spans: Vec<Claim>,
    scratch: Option<Claim>,
}

impl Claims {
    fn find(cx: &Cx) -> Self {
        let mut claims = cx.claims();
        claims.sort_by_key(|claim| claim.id);
        let (spans, scratch): (Vec<Claim>, Vec<Claim>) =
            claims.into_iter().partition(|claim| claim.what != ClaimKind::Scratch);
        Self { spans, scratch: scratch.into_iter().next() }
    }

    fn first_span(&mut self, cx: &Cx) -> Result<Claim> {
        self.span(cx, 0)
    }

    fn second_span(&mut self, cx: &Cx) -> Result<Claim> {
        self.span(cx, 1)
    }

    fn span(&mut self, cx: &Cx, number: usize) -> Result<Claim> {
        if let Some(claim) = self.spans.get(number) {
            return Ok(*claim);
        }
        let claim = cx.claim_span(SpanFamily::Bulk)?;
        self.spans.push(claim);
        Ok(claim)
    }

    fn scratch(&mut self, cx: &Cx) -> Result<RunFolder> {
        let scratch = match self.scratch {
            Some(claim) => claim,
            None => *self.scratch.insert(cx.claim_scratch()?),
        };
        // The claim is durable before its folder is made.
        let path = cx.make_staging_dir(&scratch)?;
        Ok(RunFolder { disk: Arc::clone(cx.engine().disk()), scratch: scratch.id, path })
    }
}

/// What all steps need.
struct Work<'a> {
    cx: &'a Cx,
    args: &'a Arc<ImportArgs>,
    input: &'a Arc<Input>,
    limits: Limits,
    /// Rows that earlier attempts had read, and this one does not read again; 0 for the first.
    resumed_at: u64,
}

/// What reading has reached beyond the checkpoint.
struct Reached {
    input: InputPlace,
    rows: u64,
}

impl Work<'_> {
    /// Reads the files from the checkpoint's place on: into the first span as long as keys ascend, then
    /// into runs.
    fn read(
        &self,
        claims: &mut Claims,
        first: &Claim,
        checkpoint: &mut ImportCheckpoint,
    ) -> Result<()> {
        let mut folder = None;
        if checkpoint.road() == Road::Sort {
            let scratch = claims.scratch(self.cx)?;
            self.keep_only(&scratch, &checkpoint.runs)?;
            folder = Some(scratch);
        }
        let mut batches = Batches::new(self.cx, *first)?;
        let mut sorter = Sorter::default();
        let from = checkpoint.input.clone();
        let mut reached = Reached { input: from.clone(), rows: checkpoint.rows_read };
        self.input.read(&from, |block| {
            self.cx.tick()?;
            let end = Reached { input: block.end.clone(), rows: reached.rows + block.len() as u64 };
            if checkpoint.road() == Road::Direct && !self.continues(&batches, &block)? {
                // What came in order goes in first; this block begins the runs.
                checkpoint.set_road(Road::Sort);
                self.ingest(&mut batches, &reached, checkpoint)?;
                folder = Some(claims.scratch(self.cx)?);
            }
            let class = if folder.is_some() { Class::Sort } else { Class::Ingest };
            self.cx.take_budget(class, block.row_bytes())?;
            if let Some(folder) = &folder {
                sorter.add(block);
                if sorter.memory_bytes() >= self.limits.memory_bytes {
                    self.write_run(&mut sorter, folder, &end, checkpoint)?;
                }
            } else {
                self.put(&mut batches, &block)?;
                if batches.pending_bytes() >= self.limits.batch_bytes {
                    self.ingest(&mut batches, &end, checkpoint)?;
                }
            }
            reached = end;
            self.report_reading(&reached, checkpoint, batches.pending_bytes());
            Ok(())
        })?;
        reached.input = InputPlace::start_of(self.file_count());
        match &folder {
            None => {
                checkpoint.set_road(Road::Publish);
                self.ingest(&mut batches, &reached, checkpoint)
            }
            Some(folder) => {
                if !sorter.is_empty() {
                    self.write_run(&mut sorter, folder, &reached, checkpoint)?;
                }
                checkpoint.set_road(Road::Merge);
                self.save(&reached, checkpoint)
            }
        }
    }

    fn file_count(&self) -> u32 {
        u32::try_from(self.args.files.len()).unwrap_or(u32::MAX)
    }

    /// Whether the block begins above everything before it, and is in order by itself.
    fn continues(&self, batches: &Batches<'_>, block: &Block) -> Result<bool> {
        if !block.is_ascending() {
            return Ok(false);
        }
        let Some(last) = batches.last_key().filter(|_| !block.is_empty()) else { return Ok(true) };
        if last == block.key(0) {
            let origins = Some(block.origin(0));
            let duplicate = super::merge::Duplicate::new(last, None, origins);
            return Err(self.input.encoder().duplicate(&duplicate));
        }
        Ok(last < block.key(0))
    }

    fn put(&self, batches: &mut Batches<'_>, block: &Block) -> Result<()> {
        for row in 0..block.len() {
            if (row as u64).is_multiple_of(ROWS_PER_LOOK) {
                self.cx.tick()?;
            }
            batches.put(block.key(row), block.value(row))?;
        }
        Ok(())
    }

    /// Makes the batch under way part of its span, and the checkpoint true for what is reached.
    fn ingest(
        &self,
        batches: &mut Batches<'_>,
        reached: &Reached,
        checkpoint: &mut ImportCheckpoint,
    ) -> Result<()> {
        self.cx.pause_point("import.before_ingest")?;
        self.cx.engine().crash().point("import.before_ingest")?;
        checkpoint.input = reached.input.clone();
        checkpoint.rows_read = reached.rows;
        batches.ingest(checkpoint)?;
        self.cx.engine().crash().point("import.after_ingest")?;
        self.cx.pause_point("import.after_ingest")
    }

    /// Stores the checkpoint without rows.
    fn save(&self, reached: &Reached, checkpoint: &mut ImportCheckpoint) -> Result<()> {
        checkpoint.input = reached.input.clone();
        checkpoint.rows_read = reached.rows;
        self.cx.commit(Batch::new(), checkpoint)
    }

    /// Writes what is in memory as a run.
    fn write_run(
        &self,
        sorter: &mut Sorter,
        folder: &RunFolder,
        reached: &Reached,
        checkpoint: &mut ImportCheckpoint,
    ) -> Result<()> {
        self.cx.engine().check_space()?;
        let mut writer = RunWriter::create(folder, checkpoint.next_run)?;
        let (mut rows, mut unpaid) = (0_u64, 0);
        let sorted = sorter.drain(|key, value, origin| {
            if rows.is_multiple_of(ROWS_PER_LOOK) {
                self.cx.tick().map_err(Ended::Job)?;
            }
            rows += 1;
            unpaid += (key.len() + value.len()) as u64;
            if unpaid >= BUDGET_BYTES {
                let paid = self.cx.take_budget(Class::Sort, std::mem::take(&mut unpaid));
                paid.map_err(Ended::Job)?;
            }
            writer.put(key, value, origin).map_err(|error| Ended::Job(error.into()))
        });
        sorted.map_err(|ended| self.ended(ended))?;
        let run = writer.finish()?;
        self.cx.engine().crash().point("import.before_run_checkpoint")?;
        checkpoint.runs.push(run);
        checkpoint.next_run += 1;
        self.save(reached, checkpoint)?;
        self.cx.engine().crash().point("import.after_run")?;
        self.cx.pause_point("import.after_run")
    }

    /// Merges the runs and the first span into the second span.
    fn merge(
        &self,
        claims: &mut Claims,
        first: &Claim,
        checkpoint: &mut ImportCheckpoint,
    ) -> Result<()> {
        self.cx.pause_point("import.before_merge")?;
        self.cx.engine().crash().point("import.before_merge")?;
        let folder = claims.scratch(self.cx)?;
        self.keep_only(&folder, &checkpoint.runs)?;
        self.reduce(&folder, checkpoint)?;
        let second = claims.second_span(self.cx)?;
        if checkpoint.merged.is_none() {
            // From here on they count what is in the second span.
            checkpoint.rows = 0;
        }
        let mut merge = Merge::new(self.sources(&folder, first.id, checkpoint)?);
        let mut batches = Batches::new(self.cx, second)?;
        let mut merged = checkpoint.rows;
        let mut unpaid = 0;
        self.report_merging(merged, checkpoint, 0);
        loop {
            let row = merge.next().map_err(|error| self.ended(Ended::Merge(error)))?;
            let Some(row) = row else { break };
            batches.put(row.key(), row.value())?;
            unpaid += (row.key().len() + row.value().len()) as u64;
            merged += 1;
            if merged.is_multiple_of(ROWS_PER_LOOK) {
                self.cx.tick()?;
            }
            if unpaid >= BUDGET_BYTES {
                self.cx.take_budget(Class::Merge, std::mem::take(&mut unpaid))?;
                self.report_merging(merged, checkpoint, batches.pending_bytes());
            }
            if batches.pending_bytes() >= self.limits.batch_bytes {
                checkpoint.merged = batches.last_key().map(bytes::Bytes::copy_from_slice);
                checkpoint.merge_offsets =
                    merge.sources().iter().filter_map(MergeSource::block_offset).collect();
                self.ingest_merged(&mut batches, checkpoint)?;
                self.report_merging(merged, checkpoint, 0);
            }
        }
        checkpoint.set_road(Road::Publish);
        checkpoint.merged = batches.last_key().map(bytes::Bytes::copy_from_slice);
        self.ingest_merged(&mut batches, checkpoint)
    }

    fn ingest_merged(
        &self,
        batches: &mut Batches<'_>,
        checkpoint: &mut ImportCheckpoint,
    ) -> Result<()> {
        let reached = Reached { input: checkpoint.input.clone(), rows: checkpoint.rows_read };
        self.ingest(batches, &reached, checkpoint)
    }

    /// Merges runs into longer ones until the rest can be merged at once, the first span included.
    fn reduce(&self, folder: &RunFolder, checkpoint: &mut ImportCheckpoint) -> Result<()> {
        let fan_in = self.limits.fan_in.max(3);
        // A merge that has begun has fixed its sources.
        while checkpoint.merged.is_none() && checkpoint.runs.len() >= fan_in {
            // Just as many as it takes to fit in the end, and the first span beside them.
            let count = (checkpoint.runs.len() - fan_in + 2).min(fan_in);
            let rest = checkpoint.runs.split_off(count);
            let sources: Result<Vec<RunReader>, _> =
                checkpoint.runs.iter().map(|run| RunReader::open(folder, run, 0)).collect();
            let mut merge = Merge::new(sources?);
            self.cx.engine().check_space()?;
            let mut writer = RunWriter::create(folder, checkpoint.next_run)?;
            let (mut rows, mut unpaid) = (0_u64, 0);
            loop {
                let row = merge.next().map_err(|error| self.ended(Ended::Merge(error)))?;
                let Some(row) = row else { break };
                writer.put(row.key(), row.value(), row.origin())?;
                unpaid += (row.key().len() + row.value().len()) as u64;
                rows += 1;
                if rows.is_multiple_of(ROWS_PER_LOOK) {
                    self.cx.tick()?;
                }
                if unpaid >= BUDGET_BYTES {
                    self.cx.take_budget(Class::Merge, std::mem::take(&mut unpaid))?;
                }
            }
            let longer: Run = writer.finish()?;
            // A file that is open is not gone when it is removed.
            drop(merge);
            self.cx.engine().crash().point("import.before_pass_checkpoint")?;
            checkpoint.runs = rest;
            checkpoint.runs.push(longer);
            checkpoint.next_run += 1;
            self.cx.commit(Batch::new(), checkpoint)?;
            self.cx.engine().crash().point("import.after_pass")?;
            self.keep_only(folder, &checkpoint.runs)?;
        }
        Ok(())
    }

    /// Removes what these runs have taken the place of.
    fn keep_only(&self, folder: &RunFolder, runs: &[Run]) -> Result<()> {
        folder.all_but(runs)?.iter().try_for_each(|file| self.cx.remove_file(file))
    }

    /// What is merged, each source behind the last key that is merged already.
    fn sources(
        &self,
        folder: &RunFolder,
        first: SpanId,
        checkpoint: &ImportCheckpoint,
    ) -> Result<Vec<MergeSource>> {
        let after = checkpoint.merged.clone();
        let mut sources = Vec::with_capacity(checkpoint.runs.len() + 1);
        for (number, run) in checkpoint.runs.iter().enumerate() {
            let offset = checkpoint.merge_offsets.get(number).copied().unwrap_or(0);
            let reader = Box::new(RunReader::open(folder, run, offset)?);
            sources.push(MergeSource::Run { reader, after: after.clone() });
        }
        let view = self.cx.engine().view();
        view.pin_only(&[first]);
        let span = cairn_engine::SpanRef { id: first, family: SpanFamily::Bulk };
        let lower = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let scan = view.scan(span, lower, Bound::Unbounded, false)?;
        sources.push(MergeSource::Span(SpanReader::new(scan)));
        Ok(sources)
    }

    fn ended(&self, ended: Ended) -> JobError {
        match ended {
            Ended::Job(error) => error,
            Ended::Merge(MergeError::Engine(error)) => error.into(),
            Ended::Merge(MergeError::Duplicate(duplicate)) => {
                self.input.encoder().duplicate(&duplicate)
            }
        }
    }

    fn report_reading(&self, reached: &Reached, checkpoint: &ImportCheckpoint, pending: u64) {
        let total = self.args.bytes().max(1);
        let files = &self.args.files;
        let before: u64 = files.iter().take(reached.input.file as usize).map(|f| f.bytes).sum();
        let part = (before + reached.input.offset) as f64 / total as f64;
        let sorting = checkpoint.road() == Road::Sort;
        self.cx.progress(|at| {
            if sorting { "sort" } else { "import" }.clone_into(&mut at.phase);
            at.fraction = part * if sorting { SORTED_FRACTION } else { WRITTEN_FRACTION };
            at.rows = reached.rows;
            at.bytes = checkpoint.bytes + pending;
            at.message.clear();
            let last = self.file_count().saturating_sub(1);
            at.message.push_str(self.args.file_name(reached.input.file.min(last)));
            if self.resumed_at > 0 {
                at.message.push_str(&format!(", resumed at row {}", self.resumed_at));
            }
        });
    }

    fn report_merging(&self, merged: u64, checkpoint: &ImportCheckpoint, pending: u64) {
        let part = merged as f64 / checkpoint.rows_read.max(1) as f64;
        let runs = checkpoint.runs.len();
        self.cx.progress(|at| {
            "merge".clone_into(&mut at.phase);
            at.fraction = SORTED_FRACTION + part * (WRITTEN_FRACTION - SORTED_FRACTION);
            at.rows = merged;
            at.bytes = checkpoint.bytes + pending;
            at.message = format!("{runs} sorted runs");
        });
    }
}

/// Why rows stopped flowing.
enum Ended {
    Job(JobError),
    Merge(MergeError),
}

impl From<MergeError> for Ended {
    fn from(error: MergeError) -> Self {
        Self::Merge(error)
    }
}
