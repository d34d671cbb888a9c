//! Statements of our own as people write them.

use arbitrary::{Arbitrary, Unstructured};

use crate::statements::{one, prints_as_itself, statements};

/// Strategy: the bytes choose a statement of ours with its names, texts, queries and options, written in one of
/// the ways in which it may be written; or a soup of the words that our statements are made of.
/// Invariants: a statement that is written as it should be parses, and prints as text that is the same statement,
/// its queries too; a soup keeps the invariants of any text.
pub fn grammar(data: &[u8]) {
    match Input::arbitrary_take_rest(Unstructured::new(data)) {
        Ok(Input::Statement(statement)) => {
            let text = statement.written();
            let parsed = one(&text).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            prints_as_itself(&parsed);
        }
        Ok(Input::Soup(words)) => {
            let words: Vec<&str> = words.iter().map(|word| pick(WORDS, *word)).collect();
            statements(words.join(" ").as_bytes());
        }
        Err(_) => {}
    }
}

#[derive(Arbitrary, Debug)]
enum Input {
    Statement(Written),
    Soup(Vec<u8>),
}

/// What is written; numbers choose from lists.
#[derive(Arbitrary, Debug)]
enum Written {
    Control {
        verb: u8,
        jobs: Jobs,
        options: u8,
    },
    ShowJobs {
        automatic: bool,
    },
    ShowSome {
        jobs: Jobs,
        when_complete: bool,
    },
    Import {
        table: Table,
        columns: Vec<Name>,
        places: Vec<Text>,
        options: Vec<(Name, Option<Value>)>,
    },
    SetClusterSetting {
        name: Dotted,
        to: bool,
        value: Value,
    },
    ResetClusterSetting(Dotted),
    ShowClusterSetting(Option<Dotted>),
    SetVariable {
        name: Dotted,
        session: bool,
        values: Vec<Value>,
    },
    ResetVariable(Dotted),
    Listing {
        what: u8,
        table: Table,
        names: Vec<Name>,
    },
    CreateRole {
        user: bool,
        if_not_exists: bool,
        name: Name,
        login: u8,
    },
    DropRole {
        user: bool,
        if_exists: bool,
        names: Vec<Name>,
    },
    Grant {
        roles: Vec<Name>,
        to: Vec<Name>,
    },
    Revoke {
        roles: Vec<Name>,
        from: Vec<Name>,
    },
    Transaction(u8),
    Query(u8),
}

#[derive(Arbitrary, Debug)]
enum Jobs {
    One(u8),
    All { query: u8, bare: bool },
}

/// Plain, or quoted with anything in it.
#[derive(Arbitrary, Debug)]
enum Name {
    Plain(u8),
    Quoted(String),
}

/// One to three parts.
#[derive(Arbitrary, Debug)]
struct Table(Name, Option<Name>, Option<Name>);

/// Words with dots between them, in quotes if they are anything else.
#[derive(Arbitrary, Debug)]
enum Dotted {
    Plain(u8, u8),
    Quoted(String),
}

/// A literal in one of its forms, or a parameter.
#[derive(Arbitrary, Debug)]
enum Text {
    Quoted(String),
    Escaped(u8),
    Dollars(u8),
    Param(u16),
}

/// What a setting or option may be besides.
#[derive(Arbitrary, Debug)]
enum Value {
    Text(Text),
    Number(i32),
    Decimal(u16, u16),
    Word(u8),
}

const VERBS: &[&str] = &["CANCEL", "PAUSE", "resume"];

const EXPRESSIONS: &[&str] = &[
    "1",
    "$1",
    "1 + 2",
    "-1",
    "'5'::INT8",
    "f(a)[1]",
    "NULL",
    "(SELECT max(job_id) FROM [SHOW JOBS])",
    "CASE WHEN a THEN 1 ELSE 2 END",
    "(SELECT job_id FROM [SHOW JOBS] WHERE description LIKE 'IMPORT%' LIMIT 1)",
    "t.\"Id\"",
    "ARRAY[1, 2][1]",
    "COALESCE(a, $2)",
];

const QUERIES: &[&str] = &[
    "SELECT job_id FROM t",
    "SELECT job_id FROM [SHOW JOBS]",
    "SELECT j.job_id FROM [SHOW AUTOMATIC JOBS] AS j WHERE j.status = 'paused'",
    "SELECT * FROM [IMPORT INTO t CSV DATA ('x')]",
    "SELECT k FROM [SELECT k FROM t] WHERE k IN (1, $3)",
    "SELECT job_id FROM [SHOW JOB 5] WHERE EXISTS (SELECT 1 FROM [SHOW USERS])",
    "VALUES (1), (2)",
    "TABLE t",
    "TABLE a.b.t",
    "WITH x AS (SHOW JOBS) SELECT job_id FROM x",
    "WITH x AS (SELECT 1), y AS (SHOW USERS) SELECT * FROM x, y",
    "SELECT job_id FROM [SHOW JOBS] WHERE a[1] = 2 ORDER BY created DESC LIMIT 3",
    "SELECT 1 UNION ALL SELECT job_id FROM [SHOW JOBS]",
    "SELECT job_id FROM t JOIN [SHOW JOBS] AS j ON t.k = j.job_id",
    "SELECT job_id FROM [SHOW JOBS] WHERE finished IS NULL AND NOT (status = 'x' OR b)",
];

const OPTIONS: &[&str] = &[
    "",
    " WITH WAIT",
    " WITH REASON = 'a ''b'''",
    " with wait = '30s', reason = $2",
    " WITH REASON = 'x', WAIT",
    " WITH WAIT = $3",
];

const LISTINGS: &[&str] = &[
    "SHOW DATABASES",
    "SHOW SCHEMAS",
    "SHOW TABLES",
    "SHOW USERS",
    "SHOW ROLES",
    "SHOW GRANTS",
    "SHOW COLUMNS FROM ",
    "SHOW CREATE TABLE ",
    "SHOW TABLES FROM ",
    "SHOW GRANTS FOR ",
    "SHOW GRANTS ON ROLE ",
    "SHOW SCHEMAS FROM ",
];

const TRANSACTIONS: &[&str] = &[
    "BEGIN",
    "begin work",
    "START TRANSACTION ISOLATION LEVEL READ COMMITTED READ ONLY",
    "BEGIN TRANSACTION READ WRITE, PRIORITY HIGH",
    "COMMIT",
    "END TRANSACTION",
    "ROLLBACK",
    "ABORT AND NO CHAIN",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ WRITE",
    "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET TIME ZONE 'UTC'",
    "SET TIME ZONE -7",
    "SET TIME ZONE LOCAL",
    "SET NAMES 'UTF8'",
    "RESET ALL",
    "SHOW ALL",
    "SHOW TIME ZONE",
    "DISCARD ALL",
    "DISCARD TEMPORARY",
    "BACKUP TABLE t TO 'x'",
    "ALTER TABLE t ADD COLUMN x INT",
    "EXPLAIN CANCEL JOBS (SELECT 1)",
];

/// Names that need no quotes, some that do, and words that mean something in statements.
const PLAIN: &[&str] = &[
    "t", "job_id", "a1", "_x", "Mixed", "data", "job", "jobs", "wait", "reason", "setting", "name",
    "csv", "public", "users", "admin", "skip", "detached", "nullif", "login", "work", "query",
];

const WORDS: &[&str] = &[
    "SHOW",
    "JOB",
    "JOBS",
    "CANCEL",
    "PAUSE",
    "RESUME",
    "WITH",
    "WAIT",
    "REASON",
    "=",
    "'x'",
    "'30s'",
    "(",
    ")",
    "[",
    "]",
    ",",
    ";",
    "SELECT",
    "FROM",
    "WHERE",
    "job_id",
    "*",
    "1",
    "$1",
    "IMPORT",
    "INTO",
    "t",
    "CSV",
    "DATA",
    "skip",
    "SET",
    "RESET",
    "CLUSTER",
    "SETTING",
    "SETTINGS",
    "TO",
    "ALL",
    "AS",
    "x",
    "WHEN",
    "COMPLETE",
    "AUTOMATIC",
    "CREATE",
    "USER",
    "ROLE",
    "TABLE",
    "TABLES",
    "DROP",
    "GRANT",
    "GRANTS",
    "admin",
    "REVOKE",
    "BEGIN",
    "EXPLAIN",
    "ANALYZE",
    "JOIN",
    "ON",
    "USING",
    "INSERT",
    "VALUES",
    "UPDATE",
    "DELETE",
    "UNION",
    "CASE",
    "END",
    "NOT",
    "-",
    "+",
    "::",
    ".",
    "\"q\"",
    "\"\"",
    "é",
    "--",
    "/*",
    "*/",
    "E'\\t'",
    "$$",
    "ARRAY",
    "INT8",
    "PRIMARY",
    "KEY",
    "INTERVAL",
    "NULL",
    "IN",
    "LATERAL",
    "OVER",
    "FILTER",
    "ORDER",
    "BY",
    "LIMIT",
    "SHOW JOBS",
    "FROM [SHOW JOBS]",
    "<",
    ">",
    "OPTIONS",
    "DEFAULT",
    "SESSION",
    "TIME",
    "ZONE",
    "TRANSACTION",
    "ISOLATION",
    "LEVEL",
    "READ",
    "ONLY",
    "IF",
    "EXISTS",
    "FOR",
    "DISCARD",
    "COMMIT",
    "ROLLBACK",
    "LIKE",
    "BETWEEN",
    "AND",
    "OR",
    "\n",
    "1.5",
    "\\",
    "{",
    "}",
    "@",
    "#",
    "|",
    "&",
    "~",
    "^",
    "%",
    "!",
    "?",
    "/",
    "U&'x'",
    "X'00'",
    "N'x'",
    "MERGE",
    "TRUNCATE",
    "DEALLOCATE",
    "COLLATE",
    "CAST",
    "EXTRACT",
    "POSITION",
    "TRIM",
    "SUBSTRING",
    "OVERLAY",
    "GROUPING",
    "SETS",
    "CUBE",
    "ROLLUP",
    "WINDOW",
    "ROWS",
    "PRECEDING",
    "STRUCT",
    "MAP",
    "RETURNING",
    "CONFLICT",
    "DO",
    "NOTHING",
    "SCHEMA",
    "DATABASE",
];

fn pick<'a>(list: &'a [&'a str], number: u8) -> &'a str {
    list[usize::from(number) % list.len()]
}

impl Written {
    fn written(&self) -> String {
        match self {
            Self::Control { verb, jobs, options } => {
                format!("{} {}{}", pick(VERBS, *verb), jobs.written(""), pick(OPTIONS, *options))
            }
            Self::ShowJobs { automatic: true } => "SHOW automatic JOBS".to_owned(),
            Self::ShowJobs { automatic: false } => "SHOW JOBS".to_owned(),
            Self::ShowSome { jobs, when_complete } => {
                format!("SHOW {}", jobs.written(if *when_complete { "WHEN COMPLETE " } else { "" }))
            }
            Self::Import { table, columns, places, options } => {
                let mut text = format!("IMPORT INTO {} ", table.written());
                if !columns.is_empty() {
                    text += &format!("({}) ", list(columns, Name::written));
                }
                text += &match places.as_slice() {
                    [] => "CSV DATA ('x')".to_owned(),
                    places => format!("csv DATA ({})", list(places, Text::written)),
                };
                if !options.is_empty() {
                    let options = list(options, |(name, value)| match value {
                        Some(value) => format!("{} = {}", name.written(), value.written()),
                        None => name.written(),
                    });
                    text += &format!(" WITH {options}");
                }
                text
            }
            Self::SetClusterSetting { name, to, value } => {
                let is = if *to { "TO" } else { "=" };
                format!("SET CLUSTER SETTING {} {is} {}", name.written(), value.written())
            }
            Self::ResetClusterSetting(name) => format!("RESET CLUSTER SETTING {}", name.written()),
            Self::ShowClusterSetting(Some(name)) => {
                format!("SHOW CLUSTER SETTING {}", name.written())
            }
            Self::ShowClusterSetting(None) => "SHOW ALL CLUSTER SETTINGS".to_owned(),
            Self::SetVariable { name, session, values } => {
                let session = if *session { "SESSION " } else { "" };
                // A parameter stands for the whole value.
                let values: Vec<&Value> = values
                    .iter()
                    .filter(|value| !matches!(value, Value::Text(Text::Param(_))))
                    .collect();
                match values.as_slice() {
                    [] => format!("SET {session}{} TO DEFAULT", name.variable()),
                    values => {
                        let values = list(values, |value| value.written());
                        format!("SET {session}{} = {values}", name.variable())
                    }
                }
            }
            Self::ResetVariable(name) => format!("RESET {}", name.variable()),
            Self::Listing { what, table, names } => {
                let what = pick(LISTINGS, *what);
                match what.split_at(what.len() - 5) {
                    (_, "FROM ") if what.contains("SCHEMAS") => {
                        format!("{what}{}", table.0.written())
                    }
                    (_, "FROM " | "ABLE ") => format!("{what}{}", table.written()),
                    (_, " FOR " | "ROLE ") => format!("{what}{}", some(names)),
                    _ => what.to_owned(),
                }
            }
            Self::CreateRole { user, if_not_exists, name, login } => {
                let kind = if *user { "USER" } else { "ROLE" };
                let condition = if *if_not_exists { "IF NOT EXISTS " } else { "" };
                let login = pick(&["", " LOGIN", " WITH NOLOGIN", " WITH"], *login);
                format!("CREATE {kind} {condition}{}{login}", name.written())
            }
            Self::DropRole { user, if_exists, names } => {
                let kind = if *user { "USER" } else { "ROLE" };
                let condition = if *if_exists { "IF EXISTS " } else { "" };
                format!("DROP {kind} {condition}{}", some(names))
            }
            Self::Grant { roles, to } => format!("GRANT {} TO {}", some(roles), some(to)),
            Self::Revoke { roles, from } => format!("REVOKE {} FROM {}", some(roles), some(from)),
            Self::Transaction(number) => pick(TRANSACTIONS, *number).to_owned(),
            Self::Query(number) => pick(QUERIES, *number).to_owned(),
        }
    }
}

fn list<T>(items: &[T], written: impl Fn(&T) -> String) -> String {
    items.iter().map(written).collect::<Vec<_>>().join(", ")
}

/// At least one name.
fn some(names: &[Name]) -> String {
    if names.is_empty() { "a".to_owned() } else { list(names, Name::written) }
}

impl Jobs {
    fn written(&self, when: &str) -> String {
        match self {
            Self::One(number) => format!("JOB {when}{}", pick(EXPRESSIONS, *number)),
            Self::All { query, bare: true } => format!("JOBS {when}{}", pick(QUERIES, *query)),
            Self::All { query, bare: false } => format!("JOBS {when}({})", pick(QUERIES, *query)),
        }
    }
}

fn quoted(name: &str) -> String {
    let name = if name.is_empty() { " " } else { name };
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Name {
    fn written(&self) -> String {
        match self {
            Self::Plain(number) => pick(PLAIN, *number).to_owned(),
            Self::Quoted(name) => quoted(name),
        }
    }
}

impl Table {
    fn written(&self) -> String {
        let parts = [Some(&self.0), self.1.as_ref(), self.2.as_ref()];
        let parts: Vec<String> = parts.into_iter().flatten().map(Name::written).collect();
        parts.join(".")
    }
}

impl Dotted {
    fn written(&self) -> String {
        match self {
            Self::Plain(a, b) => format!("{}.{}", pick(PLAIN, *a), pick(PLAIN, *b)),
            Self::Quoted(name) => quoted(name),
        }
    }

    /// As the name of a session variable, of which some words mean something else.
    fn variable(&self) -> String {
        match self {
            Self::Plain(a, b) => format!("\"x{}\".{}", pick(PLAIN, *a), pick(PLAIN, *b)),
            Self::Quoted(name) => quoted(&format!("x{name}")),
        }
    }
}

impl Text {
    fn written(&self) -> String {
        match self {
            Self::Quoted(text) => format!("'{}'", text.replace('\'', "''")),
            Self::Escaped(number) => {
                pick(&["E'\\t'", "E'a\\'b'", "e'\\\\'", "E'\\n\\x41'", "E'\\u00e9'"], *number)
                    .to_owned()
            }
            Self::Dollars(number) => pick(&["$$a'b$$", "$x$ $$ $x$", "$$$$"], *number).to_owned(),
            Self::Param(number) => format!("${}", (*number).max(1)),
        }
    }
}

impl Value {
    fn written(&self) -> String {
        match self {
            Self::Text(text) => text.written(),
            Self::Number(number) => number.to_string(),
            Self::Decimal(whole, behind) => format!("{whole}.{behind}"),
            Self::Word(number) => {
                pick(&["true", "false", "ISO", "\"$user\"", "public", "on", "off", "MDY"], *number)
                    .to_owned()
            }
        }
    }
}
