//! From trees to canonical SQL, which parses back to an equal tree.
//!
//! Keywords are in upper case, options in a fixed order, queries of job statements in parentheses;
//! names are quoted only where they must be. A generated relation name is printed as the
//! `[statement]` it stands for.
//!
//! Inside trees of `sqlparser` its own printing counts. It is faithful for what people write, but
//! glues stacked unary operators together (`- ~x`), and then reads them as one.

use std::fmt::{self, Display, Formatter, Write as _};

use sqlparser::ast::{SelectItem, SetExpr, Statement as SqlStatement};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::{
    Keyword, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER, RESERVED_FOR_TABLE_ALIAS,
};
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::ast::{
    ControlJobs, Dotted, Import, Jobs, Listing, Name, Parsed, ShowJobs, Sql, Statement, Text, Wait,
};

impl Display for Parsed {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        self.statement.fmt(out)
    }
}

impl Display for Statement {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql(sql) => sql.fmt(out),
            Self::ShowJobs(show) => show.fmt(out),
            Self::ControlJobs(control) => control.fmt(out),
            Self::Import(import) => import.fmt(out),
            Self::SetClusterSetting { name, value: Some(value) } => {
                write!(out, "SET CLUSTER SETTING {name} = {value}")
            }
            Self::SetClusterSetting { name, value: None } => {
                write!(out, "RESET CLUSTER SETTING {name}")
            }
            Self::ShowClusterSetting { name: Some(name) } => {
                write!(out, "SHOW CLUSTER SETTING {name}")
            }
            Self::ShowClusterSetting { name: None } => out.write_str("SHOW ALL CLUSTER SETTINGS"),
            Self::ShowCatalog(listing) => listing.fmt(out),
            Self::CreateRole { name, if_not_exists, kind } => {
                let condition = if *if_not_exists { "IF NOT EXISTS " } else { "" };
                write!(out, "CREATE {} {condition}{}", kind.as_str(), Ident(name))
            }
            Self::DropRole { names, if_exists, kind } => {
                let condition = if *if_exists { "IF EXISTS " } else { "" };
                write!(out, "DROP {} {condition}{}", kind.as_str(), Idents(names))
            }
            Self::GrantRole { roles, to } => {
                write!(out, "GRANT {} TO {}", Idents(roles), Idents(to))
            }
            Self::RevokeRole { roles, from } => {
                write!(out, "REVOKE {} FROM {}", Idents(roles), Idents(from))
            }
            Self::SetVariable { name, value: Some(value) } => write!(out, "SET {name} = {value}"),
            Self::SetVariable { name, value: None } => write!(out, "RESET {name}"),
            Self::ResetVariables => out.write_str("RESET ALL"),
            Self::ShowVariable { name } => write!(out, "SHOW {name}"),
            Self::ShowVariables => out.write_str("SHOW ALL"),
            Self::Begin { modes } if modes.is_empty() => out.write_str("BEGIN"),
            Self::Begin { modes } => write!(out, "BEGIN {}", modes.join(", ")),
            Self::Commit => out.write_str("COMMIT"),
            Self::Rollback => out.write_str("ROLLBACK"),
            Self::SetTransaction { session: true, modes } => {
                write!(out, "SET SESSION CHARACTERISTICS AS TRANSACTION {}", modes.join(", "))
            }
            Self::SetTransaction { session: false, modes } => {
                write!(out, "SET TRANSACTION {}", modes.join(", "))
            }
            Self::Discard(what) => write!(out, "DISCARD {}", what.as_str()),
            Self::NotBuilt(statement) => out.write_str(&statement.text),
        }
    }
}

impl Display for Sql {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        put_back(out, &self.ast.to_string(), self)
    }
}

/// Prints `text` with the statements of `sql` in the place of their generated names.
fn put_back(out: &mut Formatter<'_>, text: &str, sql: &Sql) -> fmt::Result {
    if sql.sources.is_empty() {
        return out.write_str(text);
    }
    let dialect = PostgreSqlDialect {};
    // What `sqlparser` prints it can read; if not, the generated names stay visible.
    let Ok(tokens) = Tokenizer::new(&dialect, text).with_unescape(false).tokenize() else {
        return out.write_str(text);
    };
    for token in tokens {
        let source = match &token {
            Token::Word(word) if word.quote_style.is_some() => {
                sql.sources.iter().find(|source| source.name == word.value)
            }
            _ => None,
        };
        match source {
            Some(source) => write!(out, "[{}]", source.statement)?,
            None => write!(out, "{token}")?,
        }
    }
    Ok(())
}

impl Display for ShowJobs {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(if self.automatic { "SHOW AUTOMATIC" } else { "SHOW" })?;
        let when = if self.when_complete { " WHEN COMPLETE" } else { "" };
        match &self.of {
            None => out.write_str(" JOBS"),
            Some(jobs) => print_jobs(out, jobs, when),
        }
    }
}

impl Display for ControlJobs {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        out.write_str(self.verb.as_str())?;
        print_jobs(out, &self.jobs, "")?;
        let mut separator = " WITH ";
        match &self.wait {
            None => {}
            Some(Wait::Unlimited) => {
                write!(out, "{separator}WAIT")?;
                separator = ", ";
            }
            Some(Wait::AtMost(limit)) => {
                write!(out, "{separator}WAIT = {limit}")?;
                separator = ", ";
            }
        }
        match &self.reason {
            None => Ok(()),
            Some(reason) => write!(out, "{separator}REASON = {reason}"),
        }
    }
}

/// ` JOB expr` or ` JOBS (query)`, with `when` between the two.
fn print_jobs(out: &mut Formatter<'_>, jobs: &Jobs, when: &str) -> fmt::Result {
    match jobs {
        Jobs::All(query) => write!(out, " JOBS{when} ({query})"),
        Jobs::One(query) => {
            write!(out, " JOB{when} ")?;
            match expression(query.ast.as_ref()) {
                Some(expr) => put_back(out, &expr.to_string(), query),
                None => write!(out, "({query})"),
            }
        }
    }
}

/// The expression that `SELECT expr` was made for.
fn expression(query: &SqlStatement) -> Option<&sqlparser::ast::Expr> {
    let SqlStatement::Query(query) = query else { return None };
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    match select.projection.as_slice() {
        [SelectItem::UnnamedExpr(expr)] => Some(expr),
        _ => None,
    }
}

impl Display for Import {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        write!(out, "IMPORT INTO {}", self.table)?;
        if !self.columns.is_empty() {
            let columns = self.columns.iter().map(|column| Ident(&column.name));
            write!(out, " ({})", List(columns))?;
        }
        let places = self.places.iter().map(|place| &place.uri);
        // The format is a name in upper case, and unquoted names are read in any case.
        write!(out, " {} DATA ({})", FormatName(&self.format), List(places))?;
        let mut separator = " WITH ";
        for option in &self.options {
            write!(out, "{separator}{}", Ident(&option.name))?;
            if let Some(value) = &option.value {
                write!(out, " = {value}")?;
            }
            separator = ", ";
        }
        Ok(())
    }
}

impl Display for Listing {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Databases => out.write_str("SHOW DATABASES"),
            Self::Schemas { database: None } => out.write_str("SHOW SCHEMAS"),
            Self::Schemas { database: Some(name) } => {
                write!(out, "SHOW SCHEMAS FROM {}", Ident(name))
            }
            Self::Tables { of: None } => out.write_str("SHOW TABLES"),
            Self::Tables { of: Some(name) } => write!(out, "SHOW TABLES FROM {name}"),
            Self::Columns { table } => write!(out, "SHOW COLUMNS FROM {table}"),
            Self::CreateTable { table } => write!(out, "SHOW CREATE TABLE {table}"),
            Self::Users => out.write_str("SHOW USERS"),
            Self::Roles => out.write_str("SHOW ROLES"),
            Self::Grants { roles, members } => {
                out.write_str("SHOW GRANTS")?;
                if !roles.is_empty() {
                    write!(out, " ON ROLE {}", Idents(roles))?;
                }
                if !members.is_empty() {
                    write!(out, " FOR {}", Idents(members))?;
                }
                Ok(())
            }
        }
    }
}

impl Display for Text {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(text) => write!(out, "'{}'", text.replace('\'', "''")),
            Self::Param(number) => write!(out, "${number}"),
        }
    }
}

impl Display for Name {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for part in &self.parts {
            write!(out, "{separator}{}", Ident(part))?;
            separator = ".";
        }
        Ok(())
    }
}

impl Display for Dotted {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if self.name.split('.').all(is_plain) {
            out.write_str(&self.name)
        } else {
            quote(out, &self.name)
        }
    }
}

/// A name as it must be written to be read back.
struct Ident<'a>(&'a str);

impl Display for Ident<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if is_plain(self.0) { out.write_str(self.0) } else { quote(out, self.0) }
    }
}

/// Names with commas between them.
struct Idents<'a>(&'a [String]);

impl Display for Idents<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        List(self.0.iter().map(|name| Ident(name))).fmt(out)
    }
}

/// The name of a file format, which is kept in upper case.
struct FormatName<'a>(&'a str);

impl Display for FormatName<'_> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        if is_plain(&self.0.to_ascii_lowercase()) {
            out.write_str(self.0)
        } else {
            quote(out, self.0)
        }
    }
}

/// Items with commas between them.
struct List<I>(I);

impl<I: Iterator<Item: Display> + Clone> Display for List<I> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for item in self.0.clone() {
            write!(out, "{separator}{item}")?;
            separator = ", ";
        }
        Ok(())
    }
}

fn quote(out: &mut Formatter<'_>, name: &str) -> fmt::Result {
    out.write_char('"')?;
    out.write_str(&name.replace('"', "\"\""))?;
    out.write_char('"')
}

/// Whether a name reads back as itself without quotes wherever names stand.
fn is_plain(name: &str) -> bool {
    /// Words that mean something in our own statements where a name may stand.
    const OURS: &[&str] =
        &["all", "cluster", "default", "for", "if", "on", "role", "session", "to"];
    let mut bytes = name.bytes();
    let starts = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let goes_on =
        bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if !starts || !goes_on || OURS.contains(&name) {
        return false;
    }
    let Token::Word(word) = Token::make_keyword(name) else { return false };
    word.keyword == Keyword::NoKeyword
        || !(RESERVED_FOR_IDENTIFIER.contains(&word.keyword)
            || RESERVED_FOR_TABLE_ALIAS.contains(&word.keyword)
            || RESERVED_FOR_COLUMN_ALIAS.contains(&word.keyword))
}
