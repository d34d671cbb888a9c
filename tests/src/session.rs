//! Statements in this process, answered as text.

use cairn_sql::{Answer, Session, SqlError, parse};
use datafusion::arrow::array::Array as _;
use datafusion::arrow::util::display::array_value_to_string;
use futures::TryStreamExt as _;

/// What the last of some statements answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// NULL is `NULL`.
    pub rows: Vec<Vec<String>>,
    /// `SELECT 3`
    pub tag: String,
}

/// Runs statements one after the other.
///
/// # Errors
/// That of the first one that fails.
pub async fn say(session: &Session, sql: &str) -> Result<Said, SqlError> {
    let mut said = Said::default();
    for parsed in parse(sql)? {
        let prepared = session.prepare(&parsed, &[]).await?;
        said = match session.execute(&prepared, Vec::new()).await? {
            Answer::Done { tag } => Said { rows: Vec::new(), tag },
            Answer::Rows { stream, tag, .. } => {
                let mut rows = Vec::new();
                for batch in stream.try_collect::<Vec<_>>().await? {
                    for row in 0..batch.num_rows() {
                        let text = batch.columns().iter().map(|column| match column.is_null(row) {
                            true => "NULL".to_owned(),
                            false => array_value_to_string(column, row).expect("it has a text"),
                        });
                        rows.push(text.collect());
                    }
                }
                let tag = tag(rows.len() as u64);
                Said { rows, tag }
            }
        };
    }
    Ok(said)
}
