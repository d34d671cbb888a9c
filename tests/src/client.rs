//! A connection that remembers notices and renders errors on one line.

use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use tokio_postgres::{AsyncMessage, NoTls, SimpleQueryMessage};

/// A statement that the server refused: `SQLSTATE: message DETAIL: ... HINT: ...`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Five characters; `08000` if the connection is gone.
    pub code: String,
    /// Everything on one line.
    pub text: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refused {}

impl From<tokio_postgres::Error> for Refused {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(answer) = error.as_db_error() else {
            return Self { code: "08000".to_owned(), text: format!("08000: {error}") };
        };
        let code = answer.code().code().to_owned();
        let mut text = format!("{code}: {}", answer.message());
        for (label, part) in [("DETAIL", answer.detail()), ("HINT", answer.hint())] {
            if let Some(part) = part {
                text.push_str(&format!(" {label}: {part}"));
            }
        }
        Self { code, text: text.replace('\n', " ") }
    }
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    client: tokio_postgres::Client,
    notices: Arc<Mutex<Vec<String>>>,
    arrived: tokio::sync::watch::Receiver<usize>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// The server refused, or is not there.
    pub async fn connect(url: &str) -> Result<Self, Refused> {
        let (client, mut connection) = tokio_postgres::connect(url, NoTls).await?;
        let notices = Arc::new(Mutex::new(Vec::new()));
        let (count, arrived) = tokio::sync::watch::channel(0);
        let seen = Arc::clone(&notices);
        tokio::spawn(async move {
            let mut messages = futures::stream::poll_fn(move |cx| connection.poll_message(cx));
            while let Some(Ok(message)) = messages.next().await {
                if let AsyncMessage::Notice(notice) = message {
                    let mut seen = seen.lock().expect("no panic while noting");
                    seen.push(notice.message().to_owned());
                    count.send_replace(seen.len());
                }
            }
        });
        Ok(Self { client, notices, arrived })
    }

    /// The driver's own client, for prepared statements and cancel tokens.
    pub fn driver(&self) -> &tokio_postgres::Client {
        &self.client
    }

    /// The notices of this connection, to be read while it is in use.
    pub fn notices(&self) -> Notices {
        Notices { seen: Arc::clone(&self.notices), arrived: self.arrived.clone() }
    }

    /// Runs one statement by the simple protocol; NULL is `NULL`.
    ///
    /// # Errors
    /// The server refused it.
    pub async fn rows(&self, sql: &str) -> Result<Vec<Vec<String>>, Refused> {
        let mut rows = Vec::new();
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::Row(row) = message {
                let cell = |i| row.get(i).unwrap_or("NULL").to_owned();
                rows.push((0..row.len()).map(cell).collect());
            }
        }
        Ok(rows)
    }

    /// Runs a statement that must work, and returns the only cell of its only row.
    ///
    /// # Panics
    /// If it is refused or answers anything but one row.
    pub async fn one(&self, sql: &str) -> String {
        let rows = self.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        assert_eq!(rows.len(), 1, "{sql} answered {rows:?}");
        rows[0][0].clone()
    }

    /// Runs a statement that must work; returns the number of rows its tag tells.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn run(&self, sql: &str) -> u64 {
        self.try_run(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// Runs a statement; returns the number of rows its tag tells.
    ///
    /// # Errors
    /// The server refused it.
    pub async fn try_run(&self, sql: &str) -> Result<u64, Refused> {
        let mut count = 0;
        for message in self.client.simple_query(sql).await? {
            if let SimpleQueryMessage::CommandComplete(n) = message {
                count = n;
            }
        }
        Ok(count)
    }

    /// Runs a statement that must be refused with `code`.
    ///
    /// # Panics
    /// If it works, or is refused for another reason.
    pub async fn refused(&self, code: &str, sql: &str) -> Refused {
        match self.rows(sql).await {
            Ok(rows) => panic!("{sql} should be refused with {code}, but answered {rows:?}"),
            Err(refused) => {
                assert_eq!(refused.code, code, "{sql}: {refused}");
                refused
            }
        }
    }

    /// Asks again until the answer's only cell is `wanted`. Only a hang reaches the limit.
    ///
    /// # Panics
    /// If that does not happen within a minute.
    pub async fn until(&self, sql: &str, wanted: &str) {
        let mut last = Vec::new();
        for _ in 0..6000 {
            last = self.rows(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
            if last.len() == 1 && last[0][0] == wanted {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{sql} never answered {wanted}; last: {last:?}");
    }

    /// Runs a statement; returns its answer and the first notice with `text`.
    ///
    /// # Panics
    /// If no such notice comes within a minute.
    pub async fn rows_and_notice(
        &mut self,
        sql: &str,
        text: &str,
    ) -> (Result<Vec<Vec<String>>, Refused>, String) {
        let answer = self.rows(sql).await;
        (answer, self.notice(text).await)
    }

    /// Waits for a notice that contains `text` and returns it.
    ///
    /// # Panics
    /// If none comes within a minute.
    pub async fn notice(&mut self, text: &str) -> String {
        let limit = std::time::Duration::from_secs(60);
        let notice = tokio::time::timeout(limit, self.notices().first(text)).await;
        notice.expect("a notice arrives").expect("the connection is open")
    }
}

/// What a connection was told beside its answers.
#[derive(Clone, Debug)]
pub struct Notices {
    seen: Arc<Mutex<Vec<String>>>,
    arrived: tokio::sync::watch::Receiver<usize>,
}

impl Notices {
    /// Waits for a notice that contains `text`; `None` if the connection ends without one.
    pub async fn first(&mut self, text: &str) -> Option<String> {
        loop {
            let open = self.arrived.has_changed().is_ok();
            let found = {
                let notices = self.seen.lock().expect("no panic while noting");
                notices.iter().find(|notice| notice.contains(text)).cloned()
            };
            if found.is_some() || !open {
                return found;
            }
            // Closed: the next look is the last one.
            let _ = self.arrived.changed().await;
        }
    }
}
