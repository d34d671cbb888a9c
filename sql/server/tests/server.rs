//! The real binary as its users see it: a server on a temporary store, drivers, and the command line.
//!
//! Each test has a server of its own. What SQL answers is tested elsewhere;
//! here it is how the answers travel.

#![expect(clippy::unwrap_used, reason = "a step that fails fails its test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::Type;
use tokio_postgres::{AsyncMessage, Client, NoTls, SimpleQueryMessage};

/// A server and its store; both go when it is dropped.
struct Server {
    child: Child,
    _stdout: BufReader<ChildStdout>,
    url: String,
    folder: tempfile::TempDir,
}

impl Server {
    fn start(options: &[&str]) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_cairn"))
            .args(["start", "--insecure", "--listen", "127.0.0.1:0", "--store"])
            .arg(folder.path().join("store"))
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let url = line
            .trim()
            .strip_prefix("ready ")
            .expect("the line of a server that is ready")
            .to_owned();
        Server { child, _stdout: stdout, url, folder }
    }

    fn store(&self) -> PathBuf {
        self.folder.path().join("store")
    }

    /// HOST:PORT.
    fn address(&self) -> &str {
        self.url.split('@').nth(1).unwrap().split('/').next().unwrap()
    }

    fn external(&self) -> PathBuf {
        self.store().join("extern")
    }

    /// A connection, and its notices as they arrive.
    async fn connect(&self) -> (Client, mpsc::UnboundedReceiver<String>) {
        let (client, mut connection) = tokio_postgres::connect(&self.url, NoTls).await.unwrap();
        let (sender, receiver) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) =
                std::future::poll_fn(|context| connection.poll_message(context)).await
            {
                if let AsyncMessage::Notice(notice) = message {
                    let _ = sender.send(notice.message().to_owned());
                }
            }
        });
        (client, receiver)
    }

    fn signal_and_wait(&mut self) -> Option<i32> {
        let kill = format!("kill -TERM {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address nobody listens on at the moment.
fn free_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// What an HTTP server answers.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// A file that takes a minute at 1 MiB/s.
fn write_long_csv(server: &Server) {
    let file = std::fs::File::create(server.external().join("long.csv")).unwrap();
    let mut file = std::io::BufWriter::new(file);
    for k in 0..200_000 {
        writeln!(file, "{k},{}", "some text that makes the row longer ".repeat(3)).unwrap();
    }
    file.into_inner().unwrap();
}

fn cairn(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_cairn")).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn doctor(store: &Path) -> Option<i32> {
    cairn(&["doctor", "--store", store.to_str().unwrap()]).status.code()
}

fn code(error: &tokio_postgres::Error) -> &SqlState {
    error.code().expect("an error of the server")
}

#[tokio::test]
async fn every_type_comes_back_the_same_in_text_and_in_binary() {
    let server = Server::start(&[]);
    let (client, _) = server.connect().await;
    let columns = "k INT8 PRIMARY KEY, i2 INT2, i4 INT4, f FLOAT8, d DECIMAL(10,2), b BOOL, t TEXT, day DATE, at TIMESTAMPTZ";
    client.batch_execute(&format!("CREATE TABLE every_type ({columns})")).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO every_type VALUES (1, -2, 3, 1.5, -12.30, true, 'ä', DATE '2024-02-29', \
             TIMESTAMPTZ '2024-02-29 12:00:00.25+00'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        )
        .await
        .unwrap();
    let select = "SELECT k, i2, i4, f, d, b, t, day, at FROM every_type ORDER BY k";

    let statement = client.prepare(select).await.unwrap();
    let types: Vec<&Type> = statement.columns().iter().map(tokio_postgres::Column::type_).collect();
    assert_eq!(
        types,
        [
            &Type::INT8,
            &Type::INT2,
            &Type::INT4,
            &Type::FLOAT8,
            &Type::NUMERIC,
            &Type::BOOL,
            &Type::TEXT,
            &Type::DATE,
            &Type::TIMESTAMPTZ
        ]
    );
    let rows = client.query(&statement, &[]).await.unwrap();
    let row = &rows[0];
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i16>(1), row.get::<_, i32>(2)), (1, -2, 3));
    assert_eq!(
        (row.get::<_, f64>(3), row.get::<_, bool>(5), row.get::<_, &str>(6)),
        (1.5, true, "ä")
    );
    let noon = std::time::UNIX_EPOCH + Duration::from_millis(1_709_208_000_250);
    assert_eq!(row.get::<_, std::time::SystemTime>(8), noon);
    assert_eq!(rows[1].get::<_, Option<i16>>(1), None);

    let text = client.simple_query(select).await.unwrap();
    let row = text.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.unwrap();
    let cells: Vec<_> = (0..row.len()).map(|index| row.get(index).unwrap()).collect();
    assert_eq!(
        cells,
        ["1", "-2", "3", "1.5", "-12.30", "t", "ä", "2024-02-29", "2024-02-29 12:00:00.25+00"]
    );
}

#[tokio::test]
async fn types_are_known_before_a_statement_runs_and_also_for_our_own() {
    let server = Server::start(&[]);
    let (client, _) = server.connect().await;
    client.batch_execute("CREATE TABLE described (k INT8 PRIMARY KEY, v TEXT)").await.unwrap();
    let statement = client.prepare("SELECT v FROM described WHERE k = $1").await.unwrap();
    assert_eq!(statement.params(), [Type::INT8]);
    let statement = client.prepare("SHOW JOBS").await.unwrap();
    assert_eq!(statement.columns().len(), 14);
    assert_eq!(statement.columns()[11].type_(), &Type::FLOAT8);
    let statement = client.prepare("CANCEL JOB $1").await.unwrap();
    assert_eq!((statement.params(), statement.columns().len()), (&[Type::INT8][..], 0));
    let error = client.execute(&statement, &[&42i64]).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::UNDEFINED_OBJECT);
    // The connection goes on after an error.
    assert_eq!(
        client.query_one("SELECT count(*) FROM described", &[]).await.unwrap().get::<_, i64>(0),
        0
    );
}

#[tokio::test]
async fn several_statements_in_one_message_run_in_order_until_the_first_error() {
    let server = Server::start(&[]);
    let (client, _) = server.connect().await;
    let text = "CREATE TABLE several (k INT8 PRIMARY KEY); INSERT INTO several VALUES (1); \
                INSERT INTO several VALUES (1); INSERT INTO several VALUES (2)";
    let error = client.batch_execute(text).await.unwrap_err();
    assert_eq!(code(&error), &SqlState::UNIQUE_VIOLATION);
    assert_eq!(
        client.query_one("SELECT count(*) FROM several", &[]).await.unwrap().get::<_, i64>(0),
        1
    );
    let error = client.batch_execute("INSERT INTO several VALUES (3); SELEC 1").await.unwrap_err();
    assert_eq!(code(&error), &SqlState::SYNTAX_ERROR);
    assert_eq!(
        client.query_one("SELECT count(*) FROM several", &[]).await.unwrap().get::<_, i64>(0),
        1
    );
    client.batch_execute("").await.unwrap();
    client.batch_execute(" ; ").await.unwrap();
}

#[tokio::test]
async fn a_notice_arrives_while_the_statement_runs_and_cancelling_it_leaves_the_job() {
    let server = Server::start(&[]);
    write_long_csv(&server);
    let (client, mut notices) = server.connect().await;
    client.batch_execute("CREATE TABLE long (k INT8 PRIMARY KEY, v TEXT)").await.unwrap();
    client.batch_execute("SET CLUSTER SETTING background.rate.max = '1MiB'").await.unwrap();

    let cancel = client.cancel_token();
    let (second, _) = server.connect().await;
    let import = client.batch_execute("IMPORT INTO long CSV DATA ('nodelocal://1/long.csv')");
    let meanwhile = async {
        let notice =
            tokio::time::timeout(Duration::from_secs(10), notices.recv()).await.unwrap().unwrap();
        let status =
            second.query_one("SELECT job_id, status FROM cairn.jobs WHERE finished IS NULL", &[]);
        let job = status.await.unwrap().get::<_, i64>(0);
        assert!(notice.contains(&job.to_string()), "{notice}");
        cancel.cancel_query(NoTls).await.unwrap();
        job
    };
    let (import, job) = tokio::join!(import, meanwhile);
    let error = import.unwrap_err();
    assert_eq!(code(&error), &SqlState::QUERY_CANCELED);
    assert!(error.as_db_error().unwrap().detail().unwrap().contains("goes on"), "{error:?}");

    let status = "SELECT status FROM cairn.jobs WHERE job_id = $1";
    assert_eq!(client.query_one(status, &[&job]).await.unwrap().get::<_, &str>(0), "running");
    client.batch_execute(&format!("CANCEL JOB {job} WITH WAIT")).await.unwrap();
    assert_eq!(client.query_one(status, &[&job]).await.unwrap().get::<_, &str>(0), "canceled");
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_wait_and_not_the_job() {
    let http = free_address();
    let server = Server::start(&["--http", &http]);
    write_long_csv(&server);
    let (client, _) = server.connect().await;
    client.batch_execute("CREATE TABLE left_alone (k INT8 PRIMARY KEY, v TEXT)").await.unwrap();
    client.batch_execute("SET CLUSTER SETTING background.rate.max = '1MiB'").await.unwrap();
    let mut waiting = Wire::connect(&server);
    waiting.send(b'Q', b"IMPORT INTO left_alone CSV DATA ('nodelocal://1/long.csv')\0");
    while waiting.receive() != b'N' {}
    assert!(get(&http, "/metrics").contains("cairn_sql_connections{} 2"));
    drop(waiting);
    let began = Instant::now();
    while !get(&http, "/metrics").contains("cairn_sql_connections{} 1") {
        assert!(began.elapsed() < Duration::from_secs(10), "the wait goes on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let job = client.query_one("SELECT job_id, status FROM cairn.jobs", &[]).await.unwrap();
    assert_eq!(job.get::<_, &str>(1), "running");
    let cancel = format!("CANCEL JOB {} WITH WAIT", job.get::<_, i64>(0));
    client.batch_execute(&cancel).await.unwrap();
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_portions() {
    let server = Server::start(&[]);
    let mut wire = Wire::connect(&server);
    wire.send(b'P', b"s\0VALUES (1), (2), (3)\0\0\0");
    wire.send(b'B', b"p\0s\0\0\0\0\0\0\0");
    for limit in [2u8, 2, 2] {
        wire.send(b'E', &[b'p', 0, 0, 0, 0, limit]);
    }
    wire.send(b'S', b"");
    // Two rows and "suspended", one row and the tag, no row and the tag again.
    assert_eq!(wire.until_ready(), ["1", "2", "DD", "s", "DC", "C", "Z"].concat());
    // A portal ends with Sync, as PostgreSQL's does outside of a transaction.
    wire.send(b'E', &[b'p', 0, 0, 0, 0, 0]);
    wire.send(b'S', b"");
    assert_eq!(wire.until_ready(), "EZ");
    // A statement without text has no rows and no tag.
    wire.send(b'P', b"\0 ; \0\0\0");
    wire.send(b'B', b"\0\0\0\0\0\0\0\0");
    wire.send(b'D', b"P\0");
    wire.send(b'E', &[0, 0, 0, 0, 0]);
    wire.send(b'S', b"");
    assert_eq!(wire.until_ready(), "12nIZ");
}

/// The protocol by hand, for what drivers do not do.
struct Wire(TcpStream);

impl Wire {
    fn connect(server: &Server) -> Wire {
        let mut wire = Wire(TcpStream::connect(server.address()).unwrap());
        wire.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let body = b"\0\x03\0\0user\0root\0\0";
        wire.0.write_all(&(body.len() as u32 + 4).to_be_bytes()).unwrap();
        wire.0.write_all(body).unwrap();
        wire.until_ready();
        wire
    }

    fn send(&mut self, kind: u8, body: &[u8]) {
        self.0.write_all(&[kind]).unwrap();
        self.0.write_all(&(body.len() as u32 + 4).to_be_bytes()).unwrap();
        self.0.write_all(body).unwrap();
    }

    /// The kind of the next message.
    fn receive(&mut self) -> u8 {
        let mut head = [0; 5];
        self.0.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        self.0.read_exact(&mut vec![0; length as usize - 4]).unwrap();
        head[0]
    }

    /// The kinds of all messages until the server is ready for the next one.
    fn until_ready(&mut self) -> String {
        let mut kinds = String::new();
        while !kinds.ends_with('Z') {
            kinds.push(char::from(self.receive()));
        }
        kinds
    }
}

#[tokio::test]
async fn an_unknown_user_is_refused_and_a_stranger_cannot_cancel() {
    let server = Server::start(&[]);
    let url = server.url.replace("root@", "nobody@");
    let error = tokio_postgres::connect(&url, NoTls).await.err().unwrap();
    assert_eq!(code(&error), &SqlState::INVALID_AUTHORIZATION_SPECIFICATION);
    // Bytes that are no protocol close their own connection and nothing else.
    let mut stranger = TcpStream::connect(server.address()).unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stranger.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stranger.read_to_end(&mut Vec::new());
    let (client, _) = server.connect().await;
    client.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn the_command_line_answers_with_its_exit_status() {
    let mut server = Server::start(&[]);
    let url = server.url.clone();
    let sql = |text: &str| cairn(&["sql", "--url", &url, "-e", text]);
    let output = sql("SELECT 1 AS one; SELECT 'x' AS two");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        " one\n-----\n   1\n(1 row)\n two\n-----\n x\n(1 row)\n"
    );
    let output = sql("SELECT * FROM nothing_here");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("SQLSTATE 42P01"));
    assert_eq!(
        cairn(&["sql", "--url", "postgresql://root@127.0.0.1:1/defaultdb", "-e", "SELECT 1"])
            .status
            .code(),
        Some(2)
    );
    let jobs =
        |arguments: &[&str]| cairn(&[&["jobs", "--url", &url], arguments].concat()).status.code();
    assert_eq!(jobs(&["list"]), Some(0));
    assert_eq!(jobs(&["show", "42"]), Some(1));
    assert_eq!(jobs(&["cancel", "42"]), Some(1));
    assert_eq!(
        cairn(&["start", "--store", "/nonexistent"]).status.code(),
        Some(2),
        "--insecure is missing"
    );

    assert_eq!(doctor(&server.store()), Some(2), "the store is in use");
    let store = server.store();
    let second = ["start", "--insecure", "--listen", "127.0.0.1:0", "--store"].map(str::to_owned);
    let second = [&second[..], &[store.to_str().unwrap().to_owned()]].concat();
    let second = cairn(&second.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(second.status.code(), Some(1), "an error, not a panic");
    let said = String::from_utf8(second.stderr).unwrap();
    assert!(said.contains("in use") && !said.contains("panicked"), "{said}");
    assert_eq!(server.signal_and_wait(), Some(0));
    assert_eq!(doctor(&server.store()), Some(0));
    assert_eq!(doctor(&server.store().join("missing")), Some(2));
}

#[tokio::test]
async fn stopping_ends_idle_connections_and_running_statements() {
    let mut server = Server::start(&[]);
    let (idle, _) = server.connect().await;
    let began = Instant::now();
    assert_eq!(server.signal_and_wait(), Some(0));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(idle.batch_execute("SELECT 1").await.is_err());
}

#[tokio::test]
async fn metrics_and_health_are_served_over_http() {
    let address = free_address();
    let server = Server::start(&["--http", &address]);
    let (client, _) = server.connect().await;
    client.batch_execute("SELECT 1").await.unwrap();
    assert!(get(&address, "/health").starts_with("HTTP/1.1 200"));
    let metrics = get(&address, "/metrics");
    assert!(
        metrics.contains("cairn_sql_connections{} 1") && metrics.trim_end().ends_with("# EOF"),
        "{metrics}"
    );
}
