//! The tree of a statement: what was said, before anybody asks whether it can be done.
//!
//! Statements of our own have variants here. Everything else is [`Statement::Sql`], a tree of
//! `sqlparser`. Printing a tree (`Display`, in `print.rs`) gives canonical SQL that parses back to
//! an equal tree; positions do not take part in comparisons.
//!
//! Names and texts are kept as they are looked up: without quotes, unquoted names in lower case.

use std::time::Duration;

use sqlparser::ast as sqlast;

/// One statement of a text.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Its exact text, without what surrounds it and without the `;`.
    pub text: String,
    /// Its tree. Locations inside `sqlparser` trees count from the beginning of `text`.
    pub statement: Statement,
    /// How many characters of the text that was sent come before it.
    pub offset: usize,
}

/// A statement.
#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    /// SELECT, EXPLAIN, INSERT, CREATE TABLE and whatever else `sqlparser` parses.
    Sql(Sql),
    /// `SHOW [AUTOMATIC] JOB[S]`: lists jobs, unfinished first.
    ShowJobs(ShowJobs),
    /// `CANCEL, PAUSE, RESUME JOB[S]`: asks for another state of one or more jobs.
    ControlJobs(ControlJobs),
    /// IMPORT INTO: loads files into a table, as a job.
    Import(Import),
    /// SET CLUSTER SETTING, RESET CLUSTER SETTING.
    SetClusterSetting {
        /// The setting.
        name: Dotted,
        /// Its new value; `None` is its default (`RESET`, `= DEFAULT`).
        value: Option<Text>,
    },
    /// SHOW CLUSTER SETTING, SHOW ALL CLUSTER SETTINGS.
    ShowClusterSetting {
        /// The setting; `None` lists all of them.
        name: Option<Dotted>,
    },
    /// SHOW DATABASES, TABLES, COLUMNS, ...: lists what the catalog knows.
    ShowCatalog(Listing),
    /// CREATE USER, CREATE ROLE.
    CreateRole {
        /// Its name.
        name: String,
        /// IF NOT EXISTS: an existing one is fine.
        if_not_exists: bool,
        /// A user may log in, a role may not.
        kind: RoleKind,
    },
    /// DROP USER, DROP ROLE.
    DropRole {
        /// Their names.
        names: Vec<String>,
        /// IF EXISTS: a missing one is fine.
        if_exists: bool,
        /// Which word was used.
        kind: RoleKind,
    },
    /// GRANT role TO user: makes users members of roles.
    GrantRole {
        /// The roles.
        roles: Vec<String>,
        /// Who gets them.
        to: Vec<String>,
    },
    /// REVOKE role FROM user: ends memberships.
    RevokeRole {
        /// The roles.
        roles: Vec<String>,
        /// Who loses them.
        from: Vec<String>,
    },
    /// SET, RESET: changes a session variable.
    SetVariable {
        /// The variable.
        name: Dotted,
        /// Its new value, a list joined by `, `; `None` is its default (`RESET`, `TO DEFAULT`).
        value: Option<Text>,
    },
    /// RESET ALL: puts the defaults of all session variables back.
    ResetVariables,
    /// SHOW: the value of a session variable.
    ShowVariable {
        /// The variable.
        name: Dotted,
    },
    /// SHOW ALL: the values of all session variables.
    ShowVariables,
    /// BEGIN, START TRANSACTION.
    Begin {
        /// Isolation level and access mode, as they were given, in upper case.
        modes: Vec<String>,
    },
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SET TRANSACTION, SET SESSION CHARACTERISTICS AS TRANSACTION.
    SetTransaction {
        /// SESSION CHARACTERISTICS: for all transactions to come.
        session: bool,
        /// Isolation level and access mode, as they were given, in upper case.
        modes: Vec<String>,
    },
    /// DISCARD: forgets what the session has.
    Discard(Discard),
    /// A statement that is known and not built: answers 0A000.
    NotBuilt(NotBuilt),
}

/// A statement in `sqlparser`'s tree.
#[derive(Debug, Clone, PartialEq)]
pub struct Sql {
    /// The tree, with a generated relation name wherever a statement stood as a table.
    pub ast: Box<sqlast::Statement>,
    /// The statements that those names stand for, in the order of the text.
    pub sources: Vec<Source>,
}

/// A statement in the place of a table: `[SHOW JOBS]`, or `SHOW JOBS` in `WITH x AS (SHOW JOBS)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Source {
    /// The generated name that stands in the tree, always as a quoted identifier: `[1]`, `[2]`, ...
    pub name: String,
    /// The statement whose rows the table has.
    pub statement: Box<Statement>,
    /// Where it stands.
    pub at: Position,
}

/// Which jobs a statement is about. Both forms are queries: an expression becomes `SELECT expr`.
#[derive(Debug, Clone, PartialEq)]
pub enum Jobs {
    /// `JOB expr`: one job, by a scalar expression.
    One(Sql),
    /// `JOBS query`: as many as the query has rows; it must have one INT column.
    All(Sql),
}

impl Jobs {
    /// The query that answers the ids.
    #[must_use]
    pub fn query(&self) -> &Sql {
        match self {
            Self::One(query) | Self::All(query) => query,
        }
    }
}

/// `SHOW [AUTOMATIC] JOB[S]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ShowJobs {
    /// AUTOMATIC: the jobs that the database started by itself, and only these.
    pub automatic: bool,
    /// Only these jobs; then without a limit of age.
    pub of: Option<Jobs>,
    /// WHEN COMPLETE: answers only when all of them have ended. Never without `of`.
    pub when_complete: bool,
}

/// What is asked of jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Ends it and undoes what it did.
    Cancel,
    /// Stops it until RESUME.
    Pause,
    /// Lets a paused one go on.
    Resume,
}

impl Verb {
    /// `CANCEL`, `PAUSE`, `RESUME`: also the first word of the command tag.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "CANCEL",
            Self::Pause => "PAUSE",
            Self::Resume => "RESUME",
        }
    }
}

/// `CANCEL, PAUSE, RESUME JOB[S]`.
#[derive(Debug, Clone, PartialEq)]
pub struct ControlJobs {
    /// What is asked.
    pub verb: Verb,
    /// Of which jobs.
    pub jobs: Jobs,
    /// WITH WAIT: answers only when it is done.
    pub wait: Option<Wait>,
    /// WITH REASON: shown with the job.
    pub reason: Option<Text>,
}

/// How long WITH WAIT waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wait {
    /// As long as it takes.
    Unlimited,
    /// At most this interval; its text is read by [`Wait::limit`].
    AtMost(Text),
}

impl Wait {
    /// The limit that an interval's text means: `30s`, `1.5 min`, `2 hours 5 minutes`, `00:01:30`.
    /// `None` if it means nothing.
    #[must_use]
    pub fn limit(text: &str) -> Option<Duration> {
        crate::parse::interval(text)
    }
}

/// IMPORT INTO table [(columns)] format DATA (places) [WITH options].
#[derive(Debug, Clone, PartialEq)]
pub struct Import {
    /// The table.
    pub table: Name,
    /// The columns that the files have, in their order; empty: all columns of the table.
    pub columns: Vec<Column>,
    /// The format, in upper case: `CSV`.
    pub format: String,
    /// Where the format stands.
    pub format_at: Position,
    /// URIs; at least one.
    pub places: Vec<Place>,
    /// Options in the order given; their names are not checked, and may come twice.
    pub options: Vec<ImportOption>,
}

/// A column of IMPORT's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Where it stands.
    pub at: Position,
}

/// A URI to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The URI.
    pub uri: Text,
    /// Where it stands.
    pub at: Position,
}

/// An option of IMPORT: `name [= 'value']`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportOption {
    /// Its name, in lower case.
    pub name: String,
    /// Its value, if it has one.
    pub value: Option<Text>,
    /// Where it stands.
    pub at: Position,
}

/// A text that may come with the execution: `'literal'` or `$1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// Said in the statement. Numbers and words are texts too.
    Literal(String),
    /// The parameter of this number, from 1; its type is TEXT.
    Param(usize),
}

impl Text {
    /// The text, if the statement says it.
    #[must_use]
    pub fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(text) => Some(text),
            Self::Param(_) => None,
        }
    }
}

/// What SHOW lists of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum Listing {
    /// SHOW DATABASES.
    Databases,
    /// SHOW SCHEMAS [FROM database].
    Schemas {
        /// The database; `None` is the session's.
        database: Option<String>,
    },
    /// SHOW TABLES [FROM schema].
    Tables {
        /// `schema`, `database` or `database.schema`; `None` is the session's.
        of: Option<Name>,
    },
    /// SHOW COLUMNS FROM table.
    Columns {
        /// The table.
        table: Name,
    },
    /// SHOW CREATE TABLE table.
    CreateTable {
        /// The table.
        table: Name,
    },
    /// SHOW USERS.
    Users,
    /// SHOW ROLES.
    Roles,
    /// SHOW GRANTS [ON ROLE roles] [FOR users]: memberships.
    Grants {
        /// Only these roles; empty: all.
        roles: Vec<String>,
        /// Only these members; empty: all.
        members: Vec<String>,
    },
}

/// Which word CREATE and DROP used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleKind {
    /// USER: may log in.
    User,
    /// ROLE: may not log in.
    Role,
}

impl RoleKind {
    /// `USER` or `ROLE`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "USER",
            Self::Role => "ROLE",
        }
    }
}

/// What DISCARD forgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    /// Everything.
    All,
    /// Cached plans.
    Plans,
    /// Cached numbers of sequences.
    Sequences,
    /// Temporary tables.
    Temp,
}

impl Discard {
    /// `ALL`, `PLANS`, `SEQUENCES`, `TEMP`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Plans => "PLANS",
            Self::Sequences => "SEQUENCES",
            Self::Temp => "TEMP",
        }
    }
}

/// A statement that is known and not built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotBuilt {
    /// What it is: `BACKUP`, `ALTER TABLE`.
    pub what: &'static str,
    /// What to use instead, or when it comes.
    pub hint: &'static str,
    /// Its text without comments, with single spaces.
    pub text: String,
    /// Where it stands.
    pub at: Position,
}

/// The name of a table or schema: one to three parts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    /// The parts, outermost first: `[database, schema, table]` or less.
    pub parts: Vec<String>,
    /// Where it stands.
    pub at: Position,
}

/// The name of a setting or variable, in lower case, with its dots: `jobs.concurrency`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Dotted {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub at: Position,
}

/// A character of the text that was sent, counted from 1. All positions are equal, so that trees
/// can be compared.
#[derive(Debug, Clone, Copy, Default)]
pub struct Position(pub usize);

impl PartialEq for Position {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Position {}

impl std::hash::Hash for Position {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl From<Position> for Option<usize> {
    fn from(position: Position) -> Self {
        (position.0 > 0).then_some(position.0)
    }
}
