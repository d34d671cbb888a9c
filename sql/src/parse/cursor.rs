//! A place in the lexemes of one statement, and the small steps every parser makes from there.

use sqlparser::tokenizer::Token;

use crate::ast::{Column, Dotted, Name, Position, Text};
use crate::error::{Result, SqlError};
use crate::lex::Lexeme;

/// Reads lexemes from left to right.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    /// The whole text that was sent, for quoting from it.
    text: &'a str,
    lexemes: &'a [Lexeme],
    next: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str, lexemes: &'a [Lexeme]) -> Self {
        Self { text, lexemes, next: 0 }
    }

    /// The same statement, read up to here only.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'a [Lexeme] {
        self.lexemes.get(self.next..).unwrap_or_default()
    }

    /// The next lexeme.
    pub(crate) fn peek(&self) -> Option<&'a Lexeme> {
        self.rest().first()
    }

    /// Whether the next lexemes are these keywords.
    pub(crate) fn sees(&self, keywords: &[&str]) -> bool {
        let rest = self.rest();
        rest.len() >= keywords.len()
            && rest.iter().zip(keywords).all(|(lexeme, keyword)| lexeme.is(keyword))
    }

    /// Whether the next lexeme is one of these keywords.
    pub(crate) fn sees_one_of(&self, keywords: &[&str]) -> bool {
        self.peek().is_some_and(|lexeme| lexeme.is_one_of(keywords))
    }

    pub(crate) fn sees_token(&self, token: &Token) -> bool {
        self.peek().is_some_and(|lexeme| lexeme.token == *token)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// Where the next lexeme stands, or where the statement ends.
    pub(crate) fn at(&self) -> Position {
        self.peek().map_or_else(|| self.end(), |lexeme| lexeme.at)
    }

    fn end(&self) -> Position {
        let Some(last) = self.lexemes.last() else { return Position(1) };
        let text = self.text.get(last.bytes.clone()).unwrap_or_default();
        Position(last.at.0 + text.chars().count())
    }

    pub(crate) fn skip(&mut self, lexemes: usize) {
        self.next = self.next.saturating_add(lexemes).min(self.lexemes.len());
    }

    /// Reads the keywords if they come next.
    pub(crate) fn eat(&mut self, keywords: &[&str]) -> bool {
        let eaten = self.sees(keywords);
        if eaten {
            self.skip(keywords.len());
        }
        eaten
    }

    pub(crate) fn eat_token(&mut self, token: &Token) -> bool {
        let eaten = self.sees_token(token);
        if eaten {
            self.skip(1);
        }
        eaten
    }

    pub(crate) fn expect(&mut self, keywords: &[&str]) -> Result<()> {
        for keyword in keywords {
            if !self.eat(&[keyword]) {
                return Err(self.unexpected(keyword));
            }
        }
        Ok(())
    }

    pub(crate) fn expect_token(&mut self, token: &Token, shown: &str) -> Result<()> {
        if self.eat_token(token) { Ok(()) } else { Err(self.unexpected(shown)) }
    }

    pub(crate) fn expect_end(&self) -> Result<()> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected("the end of the statement")) }
    }

    /// 42601 at the next lexeme. `expected` completes "expected ...".
    pub(crate) fn unexpected(&self, expected: &str) -> SqlError {
        let message = match self.peek() {
            Some(lexeme) => near(self.text.get(lexeme.bytes.clone()).unwrap_or_default()),
            None => "syntax error at end of input".to_owned(),
        };
        SqlError::syntax(message)
            .with_detail(format!("Expected {expected}."))
            .with_position(self.at())
    }

    /// A name: a word, quoted or not, whatever it means elsewhere.
    pub(crate) fn ident(&mut self, what: &str) -> Result<String> {
        let Some(Lexeme { token: Token::Word(word), at, .. }) = self.peek() else {
            return Err(self.unexpected(what));
        };
        if word.value.is_empty() {
            let message = "zero-length delimited identifier";
            return Err(SqlError::syntax(message).with_position(*at));
        }
        self.skip(1);
        Ok(match word.quote_style {
            Some(_) => word.value.clone(),
            None => word.value.to_ascii_lowercase(),
        })
    }

    /// A name in its place.
    pub(crate) fn column(&mut self) -> Result<Column> {
        let at = self.at();
        Ok(Column { name: self.ident("a column name")?, at })
    }

    /// `a`, `b.a` or `c.b.a`.
    pub(crate) fn name(&mut self, what: &str) -> Result<Name> {
        let at = self.at();
        let mut parts = vec![self.ident(what)?];
        while self.eat_token(&Token::Period) {
            parts.push(self.ident("a name")?);
        }
        if parts.len() > 3 {
            let message = "a name has at most three parts: database, schema, table";
            return Err(SqlError::syntax(message).with_position(at));
        }
        Ok(Name { parts, at })
    }

    /// The name of a setting or variable: words with dots between them.
    pub(crate) fn dotted(&mut self, what: &str) -> Result<Dotted> {
        let at = self.at();
        let mut name = self.ident(what)?.to_ascii_lowercase();
        while self.eat_token(&Token::Period) {
            name.push('.');
            name.push_str(&self.ident("a name")?.to_ascii_lowercase());
        }
        Ok(Dotted { name, at })
    }

    /// Things with commas between them, at least one.
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut items = vec![item(self)?];
        while self.eat_token(&Token::Comma) {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// A text literal or a parameter; `None` if neither comes next.
    pub(crate) fn maybe_text(&mut self) -> Result<Option<Text>> {
        let Some(lexeme) = self.peek() else { return Ok(None) };
        let text = match &lexeme.token {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::UnicodeStringLiteral(text) => Text::Literal(text.clone()),
            Token::DollarQuotedString(quoted) => Text::Literal(quoted.value.clone()),
            Token::Placeholder(name) => {
                // The lexer lets nothing else through.
                let number = name.strip_prefix('$').and_then(|digits| digits.parse().ok());
                Text::Param(number.ok_or_else(|| self.unexpected("a parameter such as $1"))?)
            }
            _ => return Ok(None),
        };
        self.skip(1);
        Ok(Some(text))
    }

    /// A text literal or a parameter.
    pub(crate) fn text_value(&mut self, what: &str) -> Result<Text> {
        match self.maybe_text()? {
            Some(text) => Ok(text),
            None => Err(self.unexpected(what)),
        }
    }

    /// A text literal, a parameter, a number, or a word: what a setting or an option may be.
    pub(crate) fn loose_value(&mut self, what: &str) -> Result<Text> {
        if let Some(text) = self.maybe_text()? {
            return Ok(text);
        }
        let start = self.next;
        let sign = match () {
            () if self.eat_token(&Token::Minus) => "-",
            () if self.eat_token(&Token::Plus) => "",
            () => "",
        };
        match self.peek().map(|lexeme| &lexeme.token) {
            Some(Token::Number(number, _)) => {
                self.skip(1);
                Ok(Text::Literal(format!("{sign}{number}")))
            }
            Some(Token::Word(word)) if self.next == start => {
                self.skip(1);
                Ok(Text::Literal(word.value.clone()))
            }
            _ => {
                let error = self.unexpected(what);
                self.next = start;
                Err(error)
            }
        }
    }

    /// The text from the beginning of the statement to its end, without comments, with single
    /// spaces. Reads all of it.
    pub(crate) fn whole_text(&mut self) -> String {
        let mut whole = String::new();
        let mut end = None;
        for lexeme in self.lexemes {
            if end.is_some_and(|end| end < lexeme.bytes.start) {
                whole.push(' ');
            }
            whole.push_str(self.text.get(lexeme.bytes.clone()).unwrap_or_default());
            end = Some(lexeme.bytes.end);
        }
        self.next = self.lexemes.len();
        whole
    }

    /// Where the statement begins.
    pub(crate) fn beginning(&self) -> Position {
        self.lexemes.first().map_or(Position(1), |lexeme| lexeme.at)
    }
}

/// PostgreSQL's words for a syntax error at a lexeme.
pub(crate) fn near(lexeme: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = lexeme.chars().take(SHOWN).collect();
    if shown.len() < lexeme.len() {
        shown.push_str("...");
    }
    format!("syntax error at or near \"{shown}\"")
}
