//! [`Table`]: a table as the query engine sees it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use cairn_engine::{Engine, EngineError, ReadView, SpanRef, blocking};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::stats::Precision;
use datafusion::common::{DFSchema, Result as DfResult, Statistics};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::catalog::TableDescriptor;
use crate::error::{Result, SqlError};
use crate::table::filter::{KeyRange, key_ranges, narrows};
use crate::table::scan::{Hidden, Piece, TableScan};
use crate::table::{KeyColumn, Reader, key_columns};

/// Key of the row, in a scan that answers places.
pub(crate) const PLACE_KEY: &str = "(row key)";
/// Value of the row, in a scan that answers places.
pub(crate) const PLACE_VALUE: &str = "(row value)";
/// Id of the row's span, in a scan that answers places.
pub(crate) const PLACE_SPAN: &str = "(row span)";

/// Bytes below which reading a span in two partitions does not pay.
const PARTITION_BYTES: u64 = 4 << 20;
/// Bytes a row of a home span is taken to have when rows are estimated.
const ROW_BYTES: u64 = 64;

/// A table as of one view.
#[derive(Debug)]
pub(crate) struct Table {
    schema: SchemaRef,
    key: Vec<KeyColumn>,
    layout: Layout,
    view: ReadView,
    defaults: HashMap<String, Expr>,
}

impl Table {
    pub(crate) fn new(
        engine: &Engine,
        table: Arc<TableDescriptor>,
        view: ReadView,
        hidden: Hidden,
    ) -> Self {
        let mut fields: Vec<Field> = table
            .columns
            .iter()
            // Nullable also where the table says NOT NULL: what is written is planned against this schema,
            // and a NULL must reach our own check, which names table and column.
            .map(|column| Field::new(&column.name, column.ty.arrow_type(), true))
            .collect();
        if hidden == Hidden::Place {
            fields.push(Field::new(PLACE_KEY, DataType::Binary, false));
            fields.push(Field::new(PLACE_VALUE, DataType::Binary, false));
            fields.push(Field::new(PLACE_SPAN, DataType::UInt64, false));
        }
        Self {
            schema: Arc::new(Schema::new(fields)),
            key: key_columns(&table),
            layout: Layout { engine: engine.clone(), reader: Arc::new(Reader::new(table)) },
            view,
            defaults: HashMap::new(),
        }
    }

    /// The same with the defaults of its columns: what INSERT needs.
    ///
    /// # Errors
    /// A default that cannot be planned (nobody can have stored one).
    pub(crate) fn with_defaults(mut self, state: &SessionState) -> Result<Self> {
        for column in &self.layout.reader.table.columns {
            if let Some(text) = &column.default {
                let expr = state.create_logical_expr(text, &DFSchema::empty())?;
                self.defaults.insert(column.name.clone(), expr);
            }
        }
        Ok(self)
    }
}

/// Where the rows of a table lie, and how many there are about.
#[derive(Debug, Clone)]
struct Layout {
    engine: Engine,
    reader: Arc<Reader>,
}

impl Layout {
    fn table(&self) -> &TableDescriptor {
        &self.reader.table
    }

    fn rows_estimate(&self) -> usize {
        let bulk: u64 = self.table().primary.spans.iter().map(|span| span.rows).sum();
        let home = self.engine.span_bytes(self.table().home_span()) / ROW_BYTES;
        usize::try_from(bulk.saturating_add(home)).unwrap_or(usize::MAX)
    }

    /// Splits what is to be read into at most `parts` lists of about equal size.
    fn partitions(&self, ranges: &[KeyRange], parts: usize) -> Vec<Vec<Piece>> {
        let mut pieces: Vec<(u64, Piece)> = Vec::new();
        let points = ranges.iter().all(|range| range.point);
        for (span, bounds) in self.spans() {
            let touched: Vec<&KeyRange> =
                ranges.iter().filter(|range| touches(range, bounds)).collect();
            if touched.is_empty() {
                continue;
            }
            if points {
                let keys = touched.iter().map(|range| range.lower.clone()).collect();
                pieces.push((0, Piece::Keys { span, keys }));
                continue;
            }
            let bytes = self.engine.span_bytes(span);
            let wanted = usize::try_from(bytes / PARTITION_BYTES).unwrap_or(parts).clamp(1, parts);
            let splits =
                if wanted > 1 { self.engine.split_points(span, wanted) } else { Vec::new() };
            let each = bytes / (splits.len() as u64 + 1);
            for range in touched {
                for (lower, upper) in split(range, &splits) {
                    pieces.push((each, Piece::Range { span, lower, upper }));
                }
            }
        }
        spread(pieces, parts)
    }

    /// The spans of the table, with the first and last key where these are known.
    fn spans(&self) -> Vec<(SpanRef, Option<Bounds<'_>>)> {
        let primary = &self.table().primary;
        let mut spans = vec![(self.table().home_span(), None)];
        for span in &primary.spans {
            let bounds = (span.first_key.as_ref(), span.last_key.as_ref());
            spans.push((span.span_ref(), Some(bounds)));
        }
        spans
    }
}

/// The first and the last key of a span.
type Bounds<'a> = (&'a [u8], &'a [u8]);

fn touches(range: &KeyRange, bounds: Option<Bounds<'_>>) -> bool {
    bounds.is_none_or(|(first, last)| {
        range.lower.as_slice() <= last && range.upper.as_deref().is_none_or(|upper| upper > first)
    })
}

/// A range cut at the split points inside it.
fn split(range: &KeyRange, splits: &[bytes::Bytes]) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
    let mut parts = Vec::new();
    let mut lower = range.lower.clone();
    for point in splits {
        let inside = point.as_ref() > lower.as_slice()
            && range.upper.as_deref().is_none_or(|upper| point.as_ref() < upper);
        if inside {
            parts.push((std::mem::replace(&mut lower, point.to_vec()), Some(point.to_vec())));
        }
    }
    parts.push((lower, range.upper.clone()));
    parts
}

/// Deals the pieces out, the largest first, each to the partition that has least so far.
fn spread(mut pieces: Vec<(u64, Piece)>, parts: usize) -> Vec<Vec<Piece>> {
    let worth = pieces.iter().filter(|(bytes, _)| *bytes >= PARTITION_BYTES / 2).count();
    let mut partitions: Vec<(u64, Vec<Piece>)> =
        vec![(0, Vec::new()); worth.clamp(1, parts.max(1))];
    pieces.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    for (bytes, piece) in pieces {
        if let Some(least) = partitions.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            least.0 += bytes;
            least.1.push(piece);
        }
    }
    partitions.into_iter().map(|(_, pieces)| pieces).collect()
}

#[async_trait]
impl TableProvider for Table {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn get_column_default(&self, column: &str) -> Option<&Expr> {
        self.defaults.get(column)
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> DfResult<Vec<TableProviderFilterPushDown>> {
        // Ranges may be wider than the filter, so the engine checks the rows again.
        let answer = |filter: &&Expr| {
            if narrows(&self.key, filter) {
                TableProviderFilterPushDown::Inexact
            } else {
                TableProviderFilterPushDown::Unsupported
            }
        };
        Ok(filters.iter().map(answer).collect())
    }

    fn statistics(&self) -> Option<Statistics> {
        let rows = Precision::Inexact(self.layout.rows_estimate());
        Some(Statistics::new_unknown(&self.schema).with_num_rows(rows))
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DfResult<Arc<dyn ExecutionPlan>> {
        let ranges = key_ranges(&self.key, filters);
        let parts = state.config().target_partitions().max(1);
        let layout = self.layout.clone();
        let partitions = if ranges.iter().all(|range| range.point) {
            layout.partitions(&ranges, parts)
        } else {
            // Sizes and split points are looked up in the files.
            blocking::run(blocking::Op::Read, move || layout.partitions(&ranges, parts))
                .await
                .map_err(|panicked| SqlError::from(EngineError::from(panicked)))?
        };
        let projection: Vec<usize> = match projection {
            Some(columns) => columns.clone(),
            None => (0..self.schema.fields().len()).collect(),
        };
        let schema = Arc::new(self.schema.project(&projection)?);
        Ok(Arc::new(TableScan::new(
            self.layout.table().name.clone(),
            Arc::clone(&self.layout.reader),
            self.view.clone(),
            partitions,
            projection,
            schema,
            limit,
            self.layout.rows_estimate(),
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_at_the_points_inside_it_only() {
        let range = KeyRange { lower: vec![3], upper: Some(vec![9]), point: false };
        let points = [vec![1], vec![3], vec![5], vec![9]].map(bytes::Bytes::from);
        let parts = split(&range, &points);
        assert_eq!(parts, [(vec![3], Some(vec![5])), (vec![5], Some(vec![9]))]);
    }

    #[test]
    fn small_spans_are_read_in_one_partition_and_large_ones_evenly() {
        let piece = |key: u8| Piece::Range {
            span: SpanRef {
                id: cairn_engine::SpanId::from_raw(1),
                family: cairn_engine::SpanFamily::Bulk,
            },
            lower: vec![key],
            upper: None,
        };
        assert_eq!(spread(vec![(10, piece(1)), (20, piece(2))], 4).len(), 1);
        let large = (1..=6).map(|key| (PARTITION_BYTES, piece(key))).collect();
        let spread = spread(large, 3);
        assert_eq!(spread.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
    }
}
