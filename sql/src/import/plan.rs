//! From the statement to a job: everything that can be refused before there is a job is refused here.
//!
//! The files are listed now, with their lengths and times, and columns that the files do not have get
//! their values now. So the job has nothing left to decide, and does the same whenever it goes on.

use std::collections::HashSet;
use std::sync::Arc;

use cairn_engine::blocking::{self, Op};
use cairn_engine::{Engine, ReadView};
use cairn_jobs::NewJob;

use super::args::{ColumnDefault, ImportArgs, ImportFile};
use super::options::Options;
use super::rows::FILES_MAX;
use crate::ast::Import;
use crate::catalog::{SPANS_MAX, TableDescriptor};
use crate::error::{Result, SqlError, code};
use crate::place::External;
use crate::session::Scope;

/// The job of a statement whose texts have all been said.
///
/// # Errors
/// 0A000 for another format than CSV, 22023 for options and URIs that make no sense, 42P01 and 42703
/// for names there are not, 23502 for a NOT NULL column that would have no value, 55000 for a table
/// with rows, 58P01 and 42501 for files, 53100 if the disk is too full.
pub(crate) async fn plan(scope: &Scope, import: &Import, text: &str) -> Result<NewJob<ImportArgs>> {
    if import.format != "CSV" {
        return Err(SqlError::not_built(
            format!("IMPORT of {}", import.format),
            "CSV is supported.",
        )
        .with_position(import.format_at));
    }
    let options = Options::new(&import.options)?;
    let (database, path) = (scope.facts.database.clone(), scope.facts.search_path());
    let (catalog, engine) = (scope.db.catalog().clone(), scope.db.engine().clone());
    let external = External::new(scope.db.external_dir());
    let free_floor = scope.jobs().settings().get_bytes("reclaim.free_space_floor");
    let statement = import.clone();
    let work = blocking::run(Op::Files, move || {
        // Not the current snapshot: an import that has just been reported as succeeded may still be
        // on its way into that one, and a view waits for it.
        let (snapshot, view) = catalog.read_view(&engine);
        let table = snapshot
            .expect_table(&statement.table.parts, &database, &path)
            .map_err(|error| error.with_position(statement.table.at))?;
        let full_name = snapshot.full_name(&table);
        let planner = Planner { table, full_name, engine, view, external, free_floor };
        planner.args(&statement, &options)
    });
    let args = work.await.map_err(|error| SqlError::internal(error.to_string()))??;
    Ok(NewJob {
        description: import.to_string(),
        statement: text.to_owned(),
        user: scope.facts.user.clone(),
        subject: Some(args.table_id),
        exclusive: true,
        args,
    })
}

/// What planning looks at.
pub(super) struct Planner {
    pub(super) table: Arc<TableDescriptor>,
    /// With its database and schema, for messages.
    pub(super) full_name: String,
    pub(super) engine: Engine,
    /// Of the same moment as the table.
    pub(super) view: ReadView,
    pub(super) external: External,
    /// Bytes of the disk that an import must leave free.
    pub(super) free_floor: u64,
}

impl Planner {
    /// The arguments of the job. Blocks.
    ///
    /// # Errors
    /// See [`plan`].
    pub(super) fn args(&self, import: &Import, options: &Options) -> Result<ImportArgs> {
        let columns = self.columns(import)?;
        let defaults = self.defaults(&columns)?;
        self.check_table(import)?;
        let files = self.files(import)?;
        let bytes = files.iter().map(|file| file.bytes).sum();
        self.check_space(bytes)?;
        Ok(ImportArgs {
            table_id: self.table.id,
            table: self.full_name.clone(),
            columns,
            defaults,
            files,
            delimiter: options.delimiter.into(),
            nullif: options.nullif.clone(),
            skip: options.skip,
        })
    }

    /// Ids of the columns that the files have.
    fn columns(&self, import: &Import) -> Result<Vec<u32>> {
        if import.columns.is_empty() {
            return Ok(self.table.columns.iter().map(|column| column.id).collect());
        }
        let mut ids = Vec::with_capacity(import.columns.len());
        let mut seen = HashSet::new();
        for named in &import.columns {
            let name = &named.name;
            let Some(column) = self.table.column(name) else {
                let message =
                    format!("column \"{name}\" of relation \"{}\" does not exist", self.table.name);
                return Err(SqlError::new(code::UNDEFINED_COLUMN, message).with_position(named.at));
            };
            if !seen.insert(column.id) {
                let message = format!("column \"{name}\" is named twice");
                return Err(SqlError::new(code::DUPLICATE_COLUMN, message).with_position(named.at));
            }
            ids.push(column.id);
        }
        Ok(ids)
    }

    /// Values of the columns that the files do not have.
    fn defaults(&self, listed: &[u32]) -> Result<Vec<ColumnDefault>> {
        let mut defaults = Vec::new();
        for column in self.table.columns.iter().filter(|column| !listed.contains(&column.id)) {
            let value = column.default_datum()?;
            if !value.is_null() {
                defaults.push(ColumnDefault { column: column.id, value: value.to_string() });
            } else if !column.nullable {
                let name = &column.name;
                let message =
                    format!("null value in column \"{name}\" violates not-null constraint");
                return Err(SqlError::new(code::NOT_NULL_VIOLATION, message)
                    .with_detail("The column is not in the list of the files' columns, and has no DEFAULT.")
                    .with_hint("Name the columns that the files have, in their order: IMPORT INTO t (a, b) CSV DATA (...)."));
            }
        }
        Ok(defaults)
    }

    fn check_table(&self, import: &Import) -> Result<()> {
        let name = &self.table.name;
        let wrong = |message: String| {
            SqlError::wrong_state(message)
                .with_position(import.table.at)
                .with_hint(format!("Import into a new table, or say first: TRUNCATE {name}"))
        };
        if self.table.primary.spans.len() >= SPANS_MAX {
            return Err(wrong(format!("relation \"{name}\" has no room for another import")));
        }
        for span in self.table.all_spans() {
            if !self.view.is_empty(span)? {
                return Err(wrong(format!(
                    "relation \"{name}\" has rows: IMPORT needs an empty table"
                )));
            }
        }
        Ok(())
    }

    fn files(&self, import: &Import) -> Result<Vec<ImportFile>> {
        let mut files = Vec::new();
        for place in &import.places {
            let Some(uri) = place.uri.literal() else {
                return Err(SqlError::internal("a URI that was not said"));
            };
            let found = self.external.resolve(uri);
            let found = found.map_err(|error| error.with_position(place.at))?;
            files.extend(found.into_iter().map(ImportFile::from));
        }
        if files.len() >= FILES_MAX {
            let message = format!("an import of {} files", files.len());
            return Err(SqlError::new(code::PROGRAM_LIMIT_EXCEEDED, message)
                .with_detail(format!("An import has less than {FILES_MAX} files.")));
        }
        Ok(files)
    }

    /// Refuses what will not fit. Encoded and compressed rows take about as much as their text at most;
    /// sources that have to be sorted take more for a while, and fail in time if it is not there.
    fn check_space(&self, bytes: u64) -> Result<()> {
        let free = self.engine.disk_usage()?.free_bytes;
        let usable = free.saturating_sub(self.free_floor);
        if bytes <= usable {
            return Ok(());
        }
        Err(SqlError::new(code::DISK_FULL, "not enough free disk space for the import")
            .with_detail(format!(
                "The files have {bytes} bytes; {free} bytes are free, of which {} are kept free.",
                self.free_floor
            ))
            .with_hint("Make room, or keep less free: SET CLUSTER SETTING reclaim.free_space_floor = '1GiB'"))
    }
}
