//! Any text as statements.

use cairn_sql::ast::{Jobs, ShowJobs, Statement};
use cairn_sql::{Parsed, parse};

/// Strategy: the bytes as text.
/// Invariants: no panic, no endless work, no overflow of the stack; an error has an SQLSTATE and a place in the
/// text; the text of each statement is the same statement; one of our own, unless it has a query in it, prints as
/// text that is the same statement and prints the same. (Queries are `sqlparser`'s, whose printing is faithful
/// for what people write and not for every text; `grammar` checks statements with queries that people write.)
pub fn statements(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let parsed = match parse(&text) {
        Ok(parsed) => parsed,
        Err(error) => {
            assert_eq!(error.code.len(), 5, "{text:?}: {error:?}");
            let place = error.position.unwrap_or_else(|| panic!("{text:?}: {error:?}"));
            assert!((1..=text.chars().count() + 1).contains(&place), "{text:?}: {error:?}");
            return;
        }
    };
    for Parsed { text: own, statement, offset } in parsed {
        let after: String = text.chars().skip(offset).collect();
        assert!(after.starts_with(&own), "{text:?}: {own:?} at {offset}");
        let again = one(&own).unwrap_or_else(|error| panic!("{own:?}: {error}"));
        assert_eq!(again, statement, "{own:?}");
        if !has_query(&statement) {
            prints_as_itself(&statement);
        } else {
            // A text to look at, of which nothing else is asked.
            let _ = parse(&statement.to_string());
        }
    }
}

/// The statement prints as text that is the same statement.
pub(crate) fn prints_as_itself(statement: &Statement) {
    let printed = statement.to_string();
    let again = one(&printed).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(again, *statement, "{printed:?}");
    assert_eq!(again.to_string(), printed);
}

/// The one statement of a text.
pub(crate) fn one(text: &str) -> Result<Statement, String> {
    let mut parsed = parse(text).map_err(|error| format!("{error:?}"))?;
    match (parsed.pop(), parsed.is_empty()) {
        (Some(parsed), true) => Ok(parsed.statement),
        (last, _) => Err(format!("{} statements", parsed.len() + usize::from(last.is_some()))),
    }
}

fn has_query(statement: &Statement) -> bool {
    match statement {
        Statement::Sql(_) | Statement::ControlJobs(_) => true,
        Statement::ShowJobs(ShowJobs { of, .. }) => {
            matches!(of, Some(Jobs::One(_) | Jobs::All(_)))
        }
        _ => false,
    }
}
