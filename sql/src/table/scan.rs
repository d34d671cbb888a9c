//! Reading a table: a leaf of a query plan that streams rows out of spans.
//!
//! A scan is a list of partitions, each a list of [`Piece`]s: a key range of one span, or single
//! keys of it. A partition reads its pieces one after the other, a batch at a time: each batch is
//! made on a blocking thread, and none is made before the one before it was taken, so a slow
//! reader holds no thread and at most one batch. The first batch is small, for those who look at a
//! few rows only. All partitions read the same view.
//!
//! Order is not promised: a table's keys are spread over spans.

use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use cairn_engine::{EngineError, ReadView, Scan, SpanRef, blocking};
use datafusion::arrow::array::{
    ArrayRef, BinaryBuilder, RecordBatch, RecordBatchOptions, UInt64Builder,
};
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};

use crate::error::SqlError;
use crate::row::RowAppender;
use crate::table::Reader;

/// Rows of a full batch.
pub(crate) const BATCH_ROWS: usize = 8192;
/// Rows of a partition's first batch.
const FIRST_BATCH_ROWS: usize = 512;
/// A batch is cut at this many bytes even when it has few rows.
const BATCH_BYTES: usize = 4 << 20;

/// What to read of one span.
#[derive(Debug, Clone)]
pub(crate) enum Piece {
    /// A range of keys: included, excluded.
    Range { span: SpanRef, lower: Vec<u8>, upper: Option<Vec<u8>> },
    /// Single keys.
    Keys { span: SpanRef, keys: Vec<Vec<u8>> },
}

/// Which columns a scan answers besides the table's own: where each row lives and what it holds,
/// for statements that change what they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hidden {
    /// None.
    No,
    /// Key, value and span of the row, in this order after the table's columns.
    Place,
}

/// The leaf.
pub(crate) struct TableScan {
    name: String,
    reader: Arc<Reader>,
    view: ReadView,
    partitions: Vec<Arc<[Piece]>>,
    /// Columns of the result as indexes into the table's, hidden ones counting on after them.
    projection: Arc<[usize]>,
    limit: Option<usize>,
    rows_estimate: usize,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for TableScan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TableScan").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TableScan {
    #[expect(clippy::too_many_arguments, reason = "one caller, and each is another thing")]
    pub(crate) fn new(
        name: String,
        reader: Arc<Reader>,
        view: ReadView,
        partitions: Vec<Vec<Piece>>,
        projection: Vec<usize>,
        schema: SchemaRef,
        limit: Option<usize>,
        rows_estimate: usize,
    ) -> Self {
        let partitions: Vec<Arc<[Piece]>> = if partitions.is_empty() {
            vec![Arc::from([])]
        } else {
            partitions.into_iter().map(Arc::from).collect()
        };
        let properties = PlanProperties::new(
            EquivalenceProperties::new(schema),
            Partitioning::UnknownPartitioning(partitions.len()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            name,
            reader,
            view,
            partitions,
            projection: projection.into(),
            limit,
            rows_estimate,
            properties: Arc::new(properties),
        }
    }
}

impl DisplayAs for TableScan {
    fn fmt_as(&self, _t: DisplayFormatType, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut ranges, mut keys) = (0, 0);
        for piece in self.partitions.iter().flat_map(|pieces| pieces.iter()) {
            match piece {
                Piece::Range { .. } => ranges += 1,
                Piece::Keys { keys: some, .. } => keys += some.len(),
            }
        }
        let parts = self.partitions.len();
        write!(out, "TableScan: {}, partitions={parts}, ranges={ranges}, keys={keys}", self.name)?;
        if let Some(limit) = self.limit {
            write!(out, ", limit={limit}")?;
        }
        Ok(())
    }
}

impl ExecutionPlan for TableScan {
    fn name(&self) -> &'static str {
        "TableScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(
        &self,
        partition: usize,
        _context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(pieces) = self.partitions.get(partition) else {
            return Err(SqlError::internal(format!("no partition {partition}")).into());
        };
        let cursor = Cursor {
            reader: Arc::clone(&self.reader),
            view: self.view.clone(),
            pieces: Arc::clone(pieces),
            schema: self.schema(),
            projection: Arc::clone(&self.projection),
            next_piece: 0,
            next_key: 0,
            scan: None,
            rows_left: self.limit.unwrap_or(usize::MAX),
            batch_rows: FIRST_BATCH_ROWS,
        };
        let batches = futures::stream::try_unfold(cursor, |mut cursor| async move {
            let (cursor, batch) = blocking::run(blocking::Op::Scan, move || {
                let batch = cursor.next_batch();
                (cursor, batch)
            })
            .await
            .map_err(|panicked| SqlError::from(EngineError::from(panicked)))?;
            Ok(batch?.map(|batch| (batch, cursor)))
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }

    fn statistics_from_inputs(
        &self,
        _inputs: &[Arc<Statistics>],
        _args: &datafusion::physical_plan::statistics::StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let statistics = Statistics::new_unknown(&self.schema())
            .with_num_rows(Precision::Inexact(self.rows_estimate));
        Ok(Arc::new(statistics))
    }
}

/// Where a partition's reading stands.
struct Cursor {
    reader: Arc<Reader>,
    view: ReadView,
    pieces: Arc<[Piece]>,
    schema: SchemaRef,
    projection: Arc<[usize]>,
    next_piece: usize,
    /// Within a piece of single keys.
    next_key: usize,
    scan: Option<(Scan, SpanRef)>,
    rows_left: usize,
    batch_rows: usize,
}

impl Cursor {
    /// Reads the next batch; `None` at the end. Blocks.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>, SqlError> {
        let mut batch = RowBatch::new(&self.reader, &self.projection)?;
        let wanted = self.batch_rows.min(self.rows_left);
        while batch.rows < wanted && batch.bytes < BATCH_BYTES {
            if let Some((scan, span)) = &mut self.scan {
                match scan.next()? {
                    Some((key, value)) => batch.append(*span, key, value)?,
                    None => self.scan = None,
                }
                continue;
            }
            match self.pieces.get(self.next_piece) {
                None => break,
                Some(Piece::Range { span, lower, upper }) => {
                    self.next_piece += 1;
                    let until = upper.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
                    let scan = self.view.scan(*span, Bound::Included(lower), until, false)?;
                    self.scan = Some((scan, *span));
                }
                Some(Piece::Keys { span, keys }) => match keys.get(self.next_key) {
                    Some(key) => {
                        self.next_key += 1;
                        if let Some(value) = self.view.get_row(*span, key)? {
                            batch.append(*span, key, &value)?;
                        }
                    }
                    None => {
                        self.next_key = 0;
                        self.next_piece += 1;
                    }
                },
            }
        }
        self.rows_left -= batch.rows;
        self.batch_rows = (self.batch_rows * 4).min(BATCH_ROWS);
        if batch.rows == 0 {
            return Ok(None);
        }
        batch.finish(&self.schema).map(Some)
    }
}

/// Rows on their way into a batch.
struct RowBatch {
    columns: RowAppender,
    places: Vec<Place>,
    /// For each column of the result: one of the places, or the next of the table's own.
    slots: Vec<Option<usize>>,
    rows: usize,
    bytes: usize,
}

enum Place {
    Key(BinaryBuilder),
    Value(BinaryBuilder),
    Span(UInt64Builder),
}

impl RowBatch {
    fn new(reader: &Reader, projection: &[usize]) -> Result<Self, SqlError> {
        let width = reader.table.columns.len();
        let (mut own, mut places, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        for &column in projection {
            if column < width {
                own.push(column);
                slots.push(None);
                continue;
            }
            slots.push(Some(places.len()));
            places.push(match column - width {
                0 => Place::Key(BinaryBuilder::new()),
                1 => Place::Value(BinaryBuilder::new()),
                _ => Place::Span(UInt64Builder::new()),
            });
        }
        let columns = RowAppender::new(&reader.codec, &own, FIRST_BATCH_ROWS)?;
        Ok(Self { columns, places, slots, rows: 0, bytes: 0 })
    }

    fn append(&mut self, span: SpanRef, key: &[u8], value: &[u8]) -> Result<(), SqlError> {
        self.columns.append(key, value)?;
        for place in &mut self.places {
            match place {
                Place::Key(keys) => keys.append_value(key),
                Place::Value(values) => values.append_value(value),
                Place::Span(spans) => spans.append_value(span.id.raw()),
            }
        }
        self.rows += 1;
        self.bytes += key.len() + value.len();
        Ok(())
    }

    fn finish(mut self, schema: &SchemaRef) -> Result<RecordBatch, SqlError> {
        let mut own = self.columns.finish_columns().into_iter();
        let mut places: Vec<Option<ArrayRef>> = self
            .places
            .iter_mut()
            .map(|place| {
                Some(match place {
                    Place::Key(bytes) | Place::Value(bytes) => Arc::new(bytes.finish()) as ArrayRef,
                    Place::Span(spans) => Arc::new(spans.finish()),
                })
            })
            .collect();
        let columns: Option<Vec<ArrayRef>> = self
            .slots
            .iter()
            .map(|slot| match slot {
                None => own.next(),
                Some(place) => places.get_mut(*place).and_then(Option::take),
            })
            .collect();
        let columns =
            columns.ok_or_else(|| SqlError::internal("a batch has fewer columns than its plan"))?;
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
    }
}
