//! From text to lexemes: `sqlparser`'s tokens, each with the exact place it came from.
//!
//! Total: every text gives lexemes or an error with a position. White space and comments are left
//! out; `;` ends a statement wherever it stands. Texts that would give a tree too deep for the
//! stack of whoever walks it later are refused here ([`check_depth`]), because a stack that
//! overflows takes the process with it.

use std::ops::Range;

use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::tokenizer::{Location, Span, Token, Tokenizer, Word};

use crate::ast::Position;
use crate::error::{Result, SqlError, code};

/// How many brackets, CASEs and the like may be open at once.
pub(crate) const NESTING_MAX: usize = 100;

/// How many operators may follow each other without a comma, outer brackets included: they become a
/// tree as deep as they are many. Measured: copying and dropping one takes up to 1.5 KiB of stack
/// for each, so this many take less than half of a thread's 2 MiB.
pub(crate) const CHAIN_MAX: usize = 500;

/// A token and its place.
#[derive(Debug, Clone)]
pub(crate) struct Lexeme {
    /// What it is. Never white space.
    pub(crate) token: Token,
    /// Its lines and columns, from the beginning of its statement.
    pub(crate) span: Span,
    /// Its bytes in the whole text.
    pub(crate) bytes: Range<usize>,
    /// Its first character in the whole text.
    pub(crate) at: Position,
}

impl Lexeme {
    /// Whether it is this keyword, in whatever case, not quoted.
    pub(crate) fn is(&self, keyword: &str) -> bool {
        self.word().is_some_and(|word| word.value.eq_ignore_ascii_case(keyword))
    }

    /// Whether it is one of these keywords.
    pub(crate) fn is_one_of(&self, keywords: &[&str]) -> bool {
        self.word()
            .is_some_and(|word| keywords.iter().any(|known| word.value.eq_ignore_ascii_case(known)))
    }

    /// The word, if it is one without quotes.
    pub(crate) fn word(&self) -> Option<&Word> {
        match &self.token {
            Token::Word(word) if word.quote_style.is_none() => Some(word),
            _ => None,
        }
    }

    /// Whether it is a word, quoted or not.
    pub(crate) fn is_name(&self) -> bool {
        matches!(self.token, Token::Word(_))
    }

    fn opens(&self) -> bool {
        matches!(self.token, Token::LParen | Token::LBracket | Token::LBrace)
    }

    fn closes(&self) -> bool {
        matches!(self.token, Token::RParen | Token::RBracket | Token::RBrace)
    }
}

/// The statements of a text: one list of lexemes each, none of them empty.
///
/// # Errors
/// 42601 where the text has no tokens (an unterminated string, say), 54001 where it is too deep.
pub(crate) fn statements(text: &str) -> Result<Vec<Vec<Lexeme>>> {
    let dialect = PostgreSqlDialect {};
    let tokens = Tokenizer::new(&dialect, text).tokenize_with_location().map_err(|error| {
        let message = lower_first(&error.message);
        SqlError::syntax(message).with_position(Place::default().find(text, error.location).at)
    })?;
    let mut statements = Vec::new();
    let mut current: Vec<Lexeme> = Vec::new();
    let mut origin = Location::new(1, 1);
    let mut place = Place::default();
    for token in tokens {
        let start = place.find(text, token.span.start);
        place = start;
        match token.token {
            Token::Whitespace(_) | Token::EOF => continue,
            Token::SemiColon => {
                if !current.is_empty() {
                    statements.push(std::mem::take(&mut current));
                }
                continue;
            }
            other => {
                place = start.find(text, token.span.end);
                if current.is_empty() {
                    origin = token.span.start;
                }
                if let Token::Placeholder(name) = &other {
                    check_parameter(name, start.at)?;
                }
                let span =
                    Span::new(since(origin, token.span.start), since(origin, token.span.end));
                let bytes = start.byte..place.byte;
                current.push(Lexeme { token: other, span, bytes, at: Position(start.at) });
            }
        }
    }
    if !current.is_empty() {
        statements.push(current);
    }
    for statement in &statements {
        check_depth(statement)?;
    }
    Ok(statements)
}

/// Refuses parameters other than `$1` to `$65535`.
fn check_parameter(name: &str, at: usize) -> Result<()> {
    match name.strip_prefix('$').and_then(|digits| digits.parse::<u16>().ok()) {
        Some(number) if number > 0 => Ok(()),
        _ => Err(SqlError::new(code::UNDEFINED_PARAMETER, format!("there is no parameter {name}"))
            .with_hint("Parameters are $1, $2, ... up to $65535.")
            .with_position(at)),
    }
}

/// One open bracket or CASE, in the estimate of a tree's depth.
#[derive(Default, Clone, Copy)]
struct Level {
    /// Operators since the last comma or connective.
    operators: usize,
    /// ANDs, ORs, UNIONs and JOINs. Their operands lie side by side, one level deeper each.
    connectives: usize,
    /// Opened by CASE, closed by END.
    case: bool,
}

/// Refuses what would become too deep a tree. An estimate from above, by lexemes only.
fn check_depth(lexemes: &[Lexeme]) -> Result<()> {
    let mut outer: Vec<Level> = Vec::new();
    let mut level = Level::default();
    // The operators and connectives of all open levels.
    let mut chain = 0_usize;
    let mut previous: Option<&Lexeme> = None;
    for lexeme in lexemes {
        let case = lexeme.is("CASE");
        if lexeme.opens() || case {
            // A subscript is an operator too.
            let subscript = usize::from(lexeme.token == Token::LBracket);
            level.operators += subscript;
            chain += subscript;
            outer.push(std::mem::replace(&mut level, Level { case, ..Level::default() }));
        } else if lexeme.closes() || (level.case && lexeme.is("END")) {
            // A bracket closes the CASEs that were left open inside it.
            while let Some(left) = outer.pop() {
                let closed = std::mem::replace(&mut level, left);
                chain -= closed.operators + closed.connectives;
                if !closed.case || lexeme.is("END") {
                    break;
                }
            }
        } else if lexeme.token == Token::Comma {
            chain -= level.operators;
            level.operators = 0;
        } else if lexeme.is_one_of(&["AND", "OR", "UNION", "INTERSECT", "EXCEPT", "JOIN"]) {
            chain = chain + 1 - level.operators;
            level.connectives += 1;
            level.operators = 0;
        } else if is_operator(lexeme) {
            chain += 1;
            level.operators += 1;
        }
        // Types nest in angle brackets, and a few prefixes in nothing at all.
        let nests = previous
            .and_then(Lexeme::word)
            .is_some_and(|previous| lexeme.token == Token::Lt || lexeme.is(&previous.value));
        if nests {
            chain += CHAIN_MAX / NESTING_MAX;
            level.operators += CHAIN_MAX / NESTING_MAX;
        }
        if outer.len() >= NESTING_MAX || chain > CHAIN_MAX {
            return Err(too_deep().with_position(lexeme.at));
        }
        previous = Some(lexeme);
    }
    Ok(())
}

fn too_deep() -> SqlError {
    SqlError::new(code::STATEMENT_TOO_COMPLEX, "the statement is nested too deep")
        .with_detail(format!(
            "At most {NESTING_MAX} brackets may be open at once, and at most {CHAIN_MAX} operators may follow each other."
        ))
        .with_hint(
            "Use IN (...) instead of many ORs, and VALUES or a table instead of many UNIONs.",
        )
}

/// Whether a token makes the tree deeper: an operator, by sign or by name.
fn is_operator(lexeme: &Lexeme) -> bool {
    match &lexeme.token {
        Token::Word(_) => lexeme.is_one_of(&[
            "NOT", "IS", "ISNULL", "NOTNULL", "IN", "LIKE", "ILIKE", "SIMILAR", "BETWEEN",
            "COLLATE", "AT", "INTERVAL", "OPERATOR", "OVERLAPS", "ESCAPE",
        ]),
        Token::EOF
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::DollarQuotedString(_)
        | Token::SingleQuotedByteStringLiteral(_)
        | Token::DoubleQuotedByteStringLiteral(_)
        | Token::NationalStringLiteral(_)
        | Token::EscapedStringLiteral(_)
        | Token::UnicodeStringLiteral(_)
        | Token::HexStringLiteral(_)
        | Token::Placeholder(_)
        | Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::SemiColon => false,
        _ => true,
    }
}

/// The number of the lexeme after the bracket that closes the one at `open`; the end if none does.
pub(crate) fn after_closing(lexemes: &[Lexeme], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (number, lexeme) in lexemes.iter().enumerate().skip(open) {
        if lexeme.opens() {
            depth += 1;
        } else if lexeme.closes() {
            depth = depth.saturating_sub(1);
        }
        if depth == 0 {
            return Some(number + 1);
        }
    }
    None
}

/// A place in a text, counted in all the ways at once.
#[derive(Debug, Clone, Copy)]
struct Place {
    line: u64,
    column: u64,
    byte: usize,
    /// Characters from 1.
    at: usize,
}

impl Default for Place {
    fn default() -> Self {
        Self { line: 1, column: 1, byte: 0, at: 1 }
    }
}

impl Place {
    /// The first place from here on that is at `location` or after it.
    fn find(mut self, text: &str, location: Location) -> Self {
        let mut rest = text.get(self.byte..).unwrap_or_default().chars();
        while (self.line, self.column) < (location.line, location.column) {
            let Some(char) = rest.next() else { break };
            self.byte += char.len_utf8();
            self.at += 1;
            if char == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self
    }
}

/// The character of `text`, from 1, at a location in it; `None` for a location that is none.
pub(crate) fn position(text: &str, location: Location) -> Option<usize> {
    (location.line > 0).then(|| Place::default().find(text, location).at)
}

/// A location as seen from `origin`.
fn since(origin: Location, location: Location) -> Location {
    if location.line == origin.line {
        Location::new(1, location.column.saturating_sub(origin.column) + 1)
    } else {
        Location::new(location.line.saturating_sub(origin.line) + 1, location.column)
    }
}

/// Messages of others, as ours begin: in lower case.
pub(crate) fn lower_first(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<Vec<&str>> {
        let statements = statements(text).unwrap();
        statements
            .iter()
            .map(|lexemes| lexemes.iter().map(|lexeme| &text[lexeme.bytes.clone()]).collect())
            .collect()
    }

    #[test]
    fn every_lexeme_knows_its_bytes_characters_and_lines() {
        assert_eq!(texts(" a /* ; */ é'ö;' ; ;b"), [vec!["a", "é", "'ö;'"], vec!["b"]]);
        let text = "x;\n  é 'a\nb' c";
        let lexed = statements(text).unwrap();
        let c = lexed[1].last().unwrap();
        assert_eq!((c.at.0, c.span.start), (14, Location::new(2, 4)));
        assert_eq!(lexed[1][0].span.start, Location::new(1, 1));
        assert_eq!(position("é 'a\nb' c", c.span.start), Some(9));
    }

    #[test]
    fn a_text_without_statements_is_no_error() {
        assert!(texts("").is_empty());
        assert!(texts(" ;; -- nothing").is_empty());
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_with_its_place() {
        let error = statements("SELECT\n 'abc").unwrap_err();
        assert_eq!((error.code, error.position), (code::SYNTAX_ERROR, Some(9)));
    }

    #[test]
    fn parameters_are_numbered_from_one() {
        assert_eq!(statements("SELECT $1, $65535").unwrap().len(), 1);
        for (text, position) in [("SELECT $0", 8), ("SELECT 'é', $65536", 13), ("$x", 1)] {
            let error = statements(text).unwrap_err();
            assert_eq!((error.code, error.position), (code::UNDEFINED_PARAMETER, Some(position)));
        }
    }

    #[test]
    fn deep_texts_are_refused_and_long_flat_ones_are_not() {
        let deep = [
            "(".repeat(5000),
            "SELECT ".to_owned() + &"CASE WHEN ".repeat(200),
            "SELECT ".to_owned() + &"1 + ".repeat(5000),
            "SELECT ".to_owned() + &"INTERVAL ".repeat(200),
            "SELECT 1".to_owned() + &" UNION SELECT 1, 2".repeat(5000),
            "SELECT x::".to_owned() + &"ARRAY<".repeat(200),
        ];
        for text in deep {
            let error = statements(&text).unwrap_err();
            assert_eq!(error.code, code::STATEMENT_TOO_COMPLEX, "{}", &text[..30]);
            assert!(error.position.is_some());
        }
        let flat = "INSERT INTO t VALUES ".to_owned() + &"(1, -2, 'x' || 'y'), ".repeat(20_000);
        assert_eq!(statements(&flat).unwrap().len(), 1);
        let many = "SELECT * FROM t WHERE k = 1".to_owned() + &" OR a + 1 = 2".repeat(400);
        assert_eq!(statements(&many).unwrap().len(), 1);
        let cases = "SELECT ".to_owned() + &"CASE WHEN a THEN b END, ".repeat(5000);
        assert_eq!(statements(&cases).unwrap().len(), 1);
    }

    #[test]
    fn brackets_are_matched() {
        let lexed = statements("f([1], (2)) x").unwrap();
        assert_eq!(after_closing(&lexed[0], 1), Some(10));
        assert_eq!(after_closing(&lexed[0], 2), Some(5));
        assert_eq!(after_closing(&statements("((1)").unwrap()[0], 0), None);
    }
}
