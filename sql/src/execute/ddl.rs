//! CREATE, DROP, TRUNCATE: ends the jobs that are in the way, takes the latches, changes the catalog.

use std::sync::PoisonError;

use cairn_engine::blocking::Op;
use cairn_jobs::ControlOptions;
use sqlparser::ast;

use crate::catalog::{Ddl, Surroundings};
use crate::error::{Result, SqlError, code};
use crate::execute::jobs::until;
use crate::execute::{Context, blocking, done};
use crate::notice::Notice;
use crate::session::{Answer, Scope};

/// How often a statement starts over because the catalog changed under it.
const TRIES: u32 = 16;

/// A statement of `sqlparser`'s tree that is neither a query nor a change of rows.
pub(crate) async fn execute(
    scope: &Scope,
    statement: &ast::Statement,
    context: Context<'_>,
) -> Result<Answer> {
    let mut tried = 0;
    loop {
        tried += 1;
        match once(scope, statement, context).await {
            Err(error) if error.code == code::SERIALIZATION_FAILURE && tried < TRIES => {}
            answer => return answer,
        }
    }
}

async fn once(scope: &Scope, statement: &ast::Statement, context: Context<'_>) -> Result<Answer> {
    let search_path = scope.facts.search_path();
    let around = Surroundings { database: &scope.facts.database, search_path: &search_path };
    let Some(ddl) = Ddl::translate(statement, &around, &scope.facts.snapshot())? else {
        let first = context.text.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        return Err(SqlError::not_built(
            first.to_ascii_uppercase(),
            "CREATE, DROP and TRUNCATE of databases, schemas and tables are, and SELECT, INSERT, UPDATE and DELETE.",
        ));
    };
    end_jobs(scope, &ddl).await?;
    let tag = ddl.tag();
    let catalog = scope.db.catalog().clone();
    let now_ms = scope.jobs().clock().now().raw();
    let notices = blocking(Op::Catalog, move || {
        let latches: Vec<_> = ddl.tables().iter().map(|id| catalog.table_latch(*id)).collect();
        let _alone: Vec<_> = latches
            .iter()
            .map(|latch| latch.write().unwrap_or_else(PoisonError::into_inner))
            .collect();
        catalog.change_synced(|change| ddl.apply(change, now_ms))
    })
    .await?;
    notices.into_iter().for_each(|message| scope.notices.send(Notice::new(message)));
    Ok(done(tag))
}

/// Cancels the jobs that work on the tables, and waits until they have ended.
async fn end_jobs(scope: &Scope, ddl: &Ddl) -> Result<()> {
    for table in ddl.tables() {
        let live = scope.jobs().live_on(*table);
        if live.is_empty() {
            continue;
        }
        let options = ControlOptions::by(&scope.facts.user).because(ddl.tag());
        let outcomes = scope.jobs().cancel(&live, options).await?;
        for (id, outcome) in live.into_iter().zip(outcomes) {
            if let Some(failure) = outcome.failure(id)
                && !scope.jobs().get(id).await?.is_none_or(|job| job.state.is_terminal())
            {
                return Err(SqlError::from(&failure).with_detail("The job works on the table."));
            }
            until(scope, id, |job| job.state.is_terminal()).await?;
            scope.notices.send(Notice::new(format!("job {id} on the table was canceled first")));
        }
    }
    Ok(())
}
