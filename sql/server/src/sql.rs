//! `cairn sql`: runs statements and prints what they answer.
//!
//! Exit status: 0, 1 when a statement failed, 2 when there is no connection. With `-e`, or when standard input is not
//! a terminal, the first error ends it; at the prompt it goes on. Ctrl-C ends the running statement, as in psql.

use crate::client::{DEFAULT_URL, Outcome, connect, describe, describe_message, run};
use crate::terminal::{ask, complain, say, width};
use clap::Args;
use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;
use tokio::sync::mpsc;
use tokio_postgres::{Client, NoTls};

const HELP: &str =
    "Statements end with a semicolon. \\q leaves, Ctrl-C ends the running statement.";

/// Options of `cairn sql`.
#[derive(Args)]
pub(crate) struct Sql {
    /// Where the server is.
    #[arg(long, default_value = DEFAULT_URL)]
    url: String,
    /// Statements to run; may be given more than once. Without it they are read from standard input.
    #[arg(short = 'e', long = "execute", value_name = "SQL")]
    execute: Vec<String>,
}

impl Sql {
    pub(crate) async fn run(self) -> ExitCode {
        let client = match connect(&self.url, |notice| complain(&describe_message(notice))).await {
            Ok(client) => client,
            Err(error) => {
                complain(&describe(&error));
                return ExitCode::from(2);
            }
        };
        if self.execute.is_empty() {
            return read(&client).await;
        }
        for sql in &self.execute {
            if !execute(&client, sql).await {
                return ExitCode::FAILURE;
            }
        }
        ExitCode::SUCCESS
    }
}

/// Runs statements and prints their answers; false if one failed.
async fn execute(client: &Client, sql: &str) -> bool {
    let width = width();
    let print = |outcome| match outcome {
        Outcome::Rows(table) => say(&table.render(width)),
        Outcome::Done(0) => say("OK"),
        Outcome::Done(1) => say("OK, 1 row"),
        Outcome::Done(count) => say(&format!("OK, {count} rows")),
    };
    let mut running = std::pin::pin!(run(client, sql, print));
    let cancel = client.cancel_token();
    loop {
        tokio::select! {
            ended = &mut running => match ended {
                Ok(()) => return true,
                Err(error) => {
                    complain(&describe(&error));
                    return false;
                }
            },
            Ok(()) = tokio::signal::ctrl_c() => {
                if let Err(error) = cancel.cancel_query(NoTls).await {
                    complain(&describe(&error));
                }
            }
        }
    }
}

/// Reads statements from standard input and runs each as soon as its semicolon is there.
async fn read(client: &Client) -> ExitCode {
    let prompting = std::io::stdin().is_terminal();
    let mut lines = lines();
    let mut text = String::new();
    if prompting {
        say(HELP);
    }
    loop {
        if prompting {
            ask(if text.is_empty() { "cairn> " } else { "    -> " });
        }
        let line = tokio::select! {
            line = lines.recv() => line,
            Ok(()) = tokio::signal::ctrl_c() => {
                text.clear();
                say("");
                continue;
            }
        };
        let ended = line.is_none();
        match line.as_deref().map(str::trim) {
            Some("\\q" | "exit" | "quit") if text.is_empty() => return ExitCode::SUCCESS,
            Some("\\?" | "help") if text.is_empty() => {
                say(HELP);
                continue;
            }
            _ => {}
        }
        if let Some(line) = line {
            text.push_str(&line);
            text.push('\n');
        }
        if is_complete(&text) || (ended && !text.trim().is_empty()) {
            if !execute(client, &std::mem::take(&mut text)).await {
                if client.is_closed() {
                    return ExitCode::from(2);
                }
                if !prompting {
                    return ExitCode::FAILURE;
                }
            }
        } else if text.trim().is_empty() {
            text.clear();
        }
        if ended {
            return ExitCode::SUCCESS;
        }
    }
}

/// The lines of standard input, read by a thread of its own because reading blocks. One line ahead at most.
fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Whether the text ends with a semicolon that ends a statement: outside of quotes, comments and dollar quotes.
fn is_complete(text: &str) -> bool {
    let mut rest = text;
    let mut complete = false;
    while let Some(first) = rest.chars().next() {
        let skip = match first {
            '\'' | '"' => closing(rest, 1, &first.to_string()),
            '-' if rest.starts_with("--") => Some(rest.find('\n').unwrap_or(rest.len())),
            '/' if rest.starts_with("/*") => closing(rest, 2, "*/"),
            '$' => match dollar_tag(rest) {
                Some(tag) => closing(rest, tag.len(), tag),
                None => Some(1),
            },
            _ => Some(first.len_utf8()),
        };
        let Some(skip) = skip else { return false };
        let is_comment = rest.starts_with("--") || rest.starts_with("/*");
        if !first.is_whitespace() && !is_comment {
            complete = first == ';';
        }
        rest = rest.get(skip..).unwrap_or_default();
    }
    complete
}

/// Where the first `end` at or behind `from` ends.
fn closing(text: &str, from: usize, end: &str) -> Option<usize> {
    Some(from + text.get(from..)?.find(end)? + end.len())
}

/// `$tag$` at the beginning of the text.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.get(1..)?;
    let length = inner.find('$')?;
    let tag = inner.get(..length)?;
    let valid = tag.chars().all(|c| c.is_alphanumeric() || c == '_')
        && !tag.starts_with(|c: char| c.is_ascii_digit());
    valid.then(|| text.get(..length + 2)).flatten()
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn a_statement_is_complete_at_a_semicolon_outside_of_quotes_and_comments() {
        for text in [
            "SELECT 1;",
            "SELECT ';';  -- done",
            "SELECT $a$;$a$;\n",
            "SELECT 1; /* ; */",
            "SELECT 'it''s';",
        ] {
            assert!(is_complete(text), "{text}");
        }
        for text in [
            "",
            "SELECT 1",
            "SELECT ';",
            "SELECT 1 -- ;",
            "SELECT $$;",
            "SELECT 1; SELECT",
            "/* ;",
            "$1",
        ] {
            assert!(!is_complete(text), "{text}");
        }
    }
}
