//! Statements in the place of a table: `FROM [SHOW JOBS]` and `WITH x AS (SHOW JOBS)`.
//!
//! `sqlparser` knows neither, so they are replaced before it sees them: the statement is parsed by
//! us and kept as a [`Source`], and a generated relation name takes its place. Only the lexemes
//! decide. A bracket is a source when a table may stand where it opens (after FROM, JOIN, USING,
//! a comma between tables, or a parenthesis in such a place) and a word follows; so subscripts
//! (`a[1]`) and arrays (`ARRAY[[1], [2]]`) are never touched. A parenthesis in the list of WITH is
//! a source when one of our own statements begins in it.
//!
//! `TABLE t` becomes `SELECT * FROM t` on the way, because `sqlparser` reads too far there.
//!
//! Everything that is put in carries the place of what it stands for, so errors point into the
//! text that was sent.

use std::collections::BTreeSet;

use sqlparser::ast as sqlast;
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use crate::ast::{Position, Source, Sql};
use crate::dialect::Bounded;
use crate::error::{Result, SqlError, syntax_error};
use crate::lex::{self, Lexeme, NESTING_MAX};
use crate::parse::{self, Cursor};

/// The words after `WITH x AS (` that begin a statement of our own.
const OWN: &[&str] = &[
    "SHOW", "IMPORT", "CANCEL", "PAUSE", "RESUME", "BACKUP", "RESTORE", "EXPORT", "EXPLAIN", "SET",
    "RESET",
];

/// The words that end the list of tables of a SELECT, UPDATE or DELETE.
const AFTER_TABLES: &[&str] = &[
    "WHERE",
    "GROUP",
    "HAVING",
    "WINDOW",
    "ORDER",
    "LIMIT",
    "OFFSET",
    "FETCH",
    "FOR",
    "UNION",
    "INTERSECT",
    "EXCEPT",
    "RETURNING",
    "SELECT",
    "SET",
    "VALUES",
];

/// Hands the rest of the statement to `sqlparser`, as far as `parse` reads it.
///
/// # Errors
/// 42601 with the place in the text that was sent.
pub(crate) fn sql(
    cursor: &mut Cursor<'_>,
    parse: impl FnOnce(&mut Parser<'_>) -> Result<sqlast::Statement, ParserError>,
) -> Result<Sql> {
    let lexemes = cursor.rest();
    let mut rewritten = rewrite(cursor)?;
    let tokens = std::mem::take(&mut rewritten.tokens);
    let dialect = Bounded::new(tokens.len());
    // Every level of ours is at least one of theirs, and some of ours are several of theirs.
    let mut parser = Parser::new(&dialect)
        .with_recursion_limit(2 * NESTING_MAX)
        .with_tokens_with_locations(tokens);
    let ast = parse(&mut parser).map_err(|error| {
        let (location, error) = syntax_error(&error);
        let found = location.and_then(|at| lexemes.iter().find(|lexeme| lexeme.span.start == at));
        match found {
            Some(lexeme) => {
                let text = cursor.text().get(lexeme.bytes.clone()).unwrap_or_default();
                let mut error = error.with_position(lexeme.at);
                if error.detail.is_some() {
                    error.message = parse::near(text);
                }
                error
            }
            None => {
                let mut end = cursor.clone();
                end.skip(lexemes.len());
                error.with_position(end.at())
            }
        }
    })?;
    let read = if parser.peek_token_ref().token == Token::EOF {
        rewritten.origins.len()
    } else {
        parser.get_current_index() + 1
    };
    // What comes next tells how far it read.
    let next = rewritten.origins.get(read).copied().unwrap_or(lexemes.len());
    cursor.skip(next);
    rewritten.sources.retain(|(at, _)| *at < next);
    let sources = rewritten.sources.into_iter().map(|(_, source)| source).collect();
    Ok(Sql { ast: Box::new(ast), sources })
}

struct Rewritten {
    tokens: Vec<TokenWithSpan>,
    /// For each token, the number of the lexeme it is or stands for.
    origins: Vec<usize>,
    /// The sources with the number of the lexeme where they begin.
    sources: Vec<(usize, Source)>,
}

impl Rewritten {
    fn push(&mut self, token: Token, lexeme: &Lexeme, origin: usize) {
        self.tokens.push(TokenWithSpan::new(token, lexeme.span));
        self.origins.push(origin);
    }
}

/// What is known inside one pair of brackets.
#[derive(Default, Clone, Copy)]
struct Level {
    /// A table may come next.
    table_next: bool,
    /// A comma is followed by a table.
    in_tables: bool,
    /// Between WITH and the statement it belongs to.
    in_with: bool,
}

fn rewrite(cursor: &Cursor<'_>) -> Result<Rewritten> {
    let lexemes = cursor.rest();
    let mut names = Names::new(lexemes);
    let mut out = Rewritten {
        tokens: Vec::with_capacity(lexemes.len()),
        origins: Vec::with_capacity(lexemes.len()),
        sources: Vec::new(),
    };
    let mut levels = vec![Level::default()];
    let mut here = 0;
    while let Some(lexeme) = lexemes.get(here) {
        let level = levels.last().copied().unwrap_or_default();
        let bracket = lexeme.token == Token::LBracket
            && level.table_next
            && lexemes.get(here + 1).is_some_and(|inner| inner.word().is_some());
        let with = lexeme.token == Token::LParen
            && level.in_with
            && follows_as(lexemes, here)
            && lexemes.get(here + 1).is_some_and(|inner| inner.is_one_of(OWN));
        if bracket || with {
            let after = lex::after_closing(lexemes, here);
            let (Some(after), Some(inner)) =
                (after, after.and_then(|after| lexemes.get(here + 1..after - 1)))
            else {
                let message = "this bracket is never closed";
                return Err(SqlError::syntax(message).with_position(lexeme.at));
            };
            let statement = parse::whole_statement(cursor.text(), inner)?;
            let name = names.next();
            let relation = Token::Word(Word {
                value: name.clone(),
                quote_style: Some('"'),
                keyword: Keyword::NoKeyword,
            });
            if with {
                out.push(Token::LParen, lexeme, here);
                out.push(Token::make_keyword("SELECT"), lexeme, here);
                out.push(Token::Mul, lexeme, here);
                out.push(Token::make_keyword("FROM"), lexeme, here);
                out.push(relation, lexeme, here);
                let closing = lexemes.get(after - 1).unwrap_or(lexeme);
                out.push(Token::RParen, closing, after - 1);
            } else {
                out.push(relation, lexeme, here);
            }
            out.sources
                .push((here, Source { name, statement: Box::new(statement), at: lexeme.at }));
            here = after;
            if let Some(level) = levels.last_mut() {
                level.table_next = false;
            }
            continue;
        }
        step(&mut levels, lexeme);
        if lexeme.is("TABLE") && begins_query(lexemes, here) {
            out.push(Token::make_keyword("SELECT"), lexeme, here);
            out.push(Token::Mul, lexeme, here);
            out.push(Token::make_keyword("FROM"), lexeme, here);
            if let Some(level) = levels.last_mut() {
                level.table_next = true;
            }
        } else {
            out.push(lexeme.token.clone(), lexeme, here);
        }
        here += 1;
    }
    Ok(out)
}

/// What `lexeme` says about what may follow it.
fn step(levels: &mut Vec<Level>, lexeme: &Lexeme) {
    let Some(level) = levels.last_mut() else { return levels.push(Level::default()) };
    match &lexeme.token {
        Token::LParen => {
            let table_next = level.table_next;
            level.table_next = false;
            levels.push(Level { table_next, in_tables: table_next, in_with: false });
        }
        Token::LBracket | Token::LBrace => {
            level.table_next = false;
            levels.push(Level::default());
        }
        Token::RParen | Token::RBracket | Token::RBrace => {
            levels.pop();
        }
        Token::Comma => level.table_next = level.in_tables,
        _ if lexeme.is_one_of(&["FROM", "JOIN", "USING"]) => {
            level.table_next = true;
            level.in_tables = true;
        }
        _ if lexeme.is_one_of(&["LATERAL", "ONLY"]) => {}
        _ if lexeme.is("WITH") => {
            level.table_next = false;
            level.in_with = true;
        }
        _ if lexeme.is_one_of(&["INSERT", "UPDATE", "DELETE", "MERGE"]) => {
            *level = Level::default();
        }
        _ if lexeme.is_one_of(AFTER_TABLES) => *level = Level::default(),
        _ => level.table_next = false,
    }
}

/// Whether `AS`, `AS MATERIALIZED` or `AS NOT MATERIALIZED` stands before the lexeme `here`.
fn follows_as(lexemes: &[Lexeme], here: usize) -> bool {
    let before = |back: usize| here.checked_sub(back).and_then(|number| lexemes.get(number));
    let is = |back: usize, keyword: &str| before(back).is_some_and(|lexeme| lexeme.is(keyword));
    is(1, "AS") || (is(1, "MATERIALIZED") && (is(2, "AS") || (is(2, "NOT") && is(3, "AS"))))
}

/// Whether the lexeme `here` is the first of a query.
fn begins_query(lexemes: &[Lexeme], here: usize) -> bool {
    let Some(before) = here.checked_sub(1).and_then(|number| lexemes.get(number)) else {
        return true;
    };
    before.token == Token::LParen
        || before.is_one_of(&[
            "UNION",
            "INTERSECT",
            "EXCEPT",
            "ALL",
            "DISTINCT",
            "EXPLAIN",
            "ANALYZE",
            "VERBOSE",
        ])
}

/// Generates relation names that the statement does not use itself.
struct Names<'a> {
    taken: BTreeSet<&'a str>,
    last: usize,
}

impl<'a> Names<'a> {
    fn new(lexemes: &'a [Lexeme]) -> Self {
        let taken = lexemes
            .iter()
            .filter_map(|lexeme| match &lexeme.token {
                Token::Word(word) if word.value.starts_with('[') => Some(word.value.as_str()),
                _ => None,
            })
            .collect();
        Self { taken, last: 0 }
    }

    fn next(&mut self) -> String {
        loop {
            self.last += 1;
            let name = format!("[{}]", self.last);
            if !self.taken.contains(name.as_str()) {
                return name;
            }
        }
    }
}

/// Where `sqlparser`'s trees are put together from, for positions that are found later.
impl crate::ast::Parsed {
    /// The position, in the text that was sent, of a location inside one of the statement's trees.
    #[must_use]
    pub fn position(&self, location: sqlparser::tokenizer::Location) -> Position {
        let inside = lex::position(&self.text, location);
        Position(inside.map_or(0, |inside| self.offset + inside))
    }
}
