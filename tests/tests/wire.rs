//! Hostile bytes on the wire: conversations that make sense, changed until they do not, against a real server.
//!
//! Strategy: a conversation is a list of messages of PostgreSQL's protocol (startup, simple and extended queries,
//! cancel requests, copy data, things out of place) with parameters and texts drawn from lists; then bits are
//! flipped, lengths replaced, messages doubled, swapped, cut off, or noise put between them. Sent in pieces, and the
//! client's half is closed.
//!
//! Invariants: every connection ends; what the server sends is whole messages of the protocol; a conversation that
//! was not changed is answered to its end; nothing panics; nobody else notices; memory does not grow.

use std::time::{Duration, Instant};

use cairn_tests::wire::{Message, startup, tags, talk, text};
use cairn_tests::{Random, Server};
use futures::StreamExt as _;

/// Conversations at the same time.
const TOGETHER: usize = 20;

/// Conversations between two looks at the server.
const BETWEEN_LOOKS: u64 = 100;

/// Growth of memory that means nothing: caches of plans and of the allocator.
const MEMORY_SLACK: u64 = 96 << 20;

const TEXTS: [&str; 22] = [
    "",
    ";",
    "SELECT 1",
    "SELECT 1; SELECT 2; SELECT",
    "SELECT $1::INT8 + $2::INT8",
    "SELECT $1, $2, $65536",
    "SELECT k, v FROM t WHERE k = $1",
    "INSERT INTO t (k, v) VALUES ($1, $2)",
    "UPDATE t SET v = $2 WHERE k = $1",
    "DELETE FROM t WHERE k = $1",
    "SELECT * FROM [SHOW JOBS]",
    "SHOW JOBS",
    "CANCEL JOB $1",
    "CANCEL JOBS (SELECT job_id FROM [SHOW JOBS] WHERE status = 'running')",
    "PAUSE JOB 1",
    "SET application_name = 'x'",
    "SHOW CLUSTER SETTING reclaim.paused",
    "SELECT * FROM generate_series(1, 3000)",
    "SELECT '\u{1F980}', E'\\'', 'it''s'",
    "BEGIN",
    "COPY t FROM STDIN",
    "SELECT ((((((((((((((((((((((((((((((1))))))))))))))))))))))))))))))",
];

const NAMES: [&str; 4] = ["", "a", "b", "a name that is longer than most names are, \u{e9}"];

/// OIDs of types, and one that is none.
const TYPES: [u32; 12] = [0, 16, 17, 20, 21, 23, 25, 701, 1082, 1184, 1700, 4_000_000_000];

const PARAMETERS: [&[u8]; 10] = [
    b"",
    b"1",
    b"-9223372036854775808",
    b"text",
    b"{1,2,NULL}",
    b"\xff\xfe",
    b"\0\0\0\0\0\0\0\x07",
    b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01",
    b"\0\x02\xff\xff\x40\0\0\x01\x27\x0f\x27\x0f",
    b"2026-01-01 00:00:00+00",
];

fn request(code: u32, random: &mut Random) -> Message {
    let mut body = code.to_be_bytes().to_vec();
    if code == 80_877_102 {
        body.extend(random.number().to_be_bytes());
    }
    Message { tag: None, body }
}

fn parse(random: &mut Random) -> Message {
    let mut body = Vec::new();
    text(&mut body, random.pick::<&str>(&NAMES));
    text(&mut body, random.pick::<&str>(&TEXTS));
    let types = random.below(4) as u16;
    body.extend(types.to_be_bytes());
    for _ in 0..types {
        body.extend(random.pick(&TYPES).to_be_bytes());
    }
    Message::new(b'P', body)
}

fn bind(random: &mut Random) -> Message {
    let mut body = Vec::new();
    text(&mut body, random.pick::<&str>(&NAMES));
    text(&mut body, random.pick::<&str>(&NAMES));
    let formats = random.below(3) as u16;
    body.extend(formats.to_be_bytes());
    for _ in 0..formats {
        body.extend((random.below(3) as u16).to_be_bytes());
    }
    let parameters = random.below(4) as u16;
    body.extend(parameters.to_be_bytes());
    for _ in 0..parameters {
        if random.chance(20) {
            body.extend((-1_i32).to_be_bytes());
            continue;
        }
        let value = *random.pick(&PARAMETERS);
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value);
    }
    let formats = random.below(3) as u16;
    body.extend(formats.to_be_bytes());
    for _ in 0..formats {
        body.extend((random.below(2) as u16).to_be_bytes());
    }
    Message::new(b'B', body)
}

/// Describe or close a statement or a portal.
fn about(tag: u8, random: &mut Random) -> Message {
    let mut body = vec![*random.pick(b"SPx")];
    text(&mut body, random.pick::<&str>(&NAMES));
    Message::new(tag, body)
}

fn message(random: &mut Random) -> Message {
    match random.below(12) {
        0 | 1 => {
            let mut body = Vec::new();
            text(&mut body, random.pick::<&str>(&TEXTS));
            Message::new(b'Q', body)
        }
        2 | 3 => parse(random),
        4 | 5 => bind(random),
        6 => about(b'D', random),
        7 => {
            let mut body = Vec::new();
            text(&mut body, random.pick::<&str>(&NAMES));
            body.extend((random.below(4) as u32).to_be_bytes());
            Message::new(b'E', body)
        }
        8 => about(b'C', random),
        9 => Message::new(b'S', Vec::new()),
        10 => Message::new(b'H', Vec::new()),
        // Copy data, its end and its failure, a function call, a password: nobody asked for them.
        _ => {
            let mut body = vec![0; random.index(9)];
            random.fill(&mut body);
            Message::new(*random.pick(b"dcfFp"), body)
        }
    }
}

/// A conversation, and whether it is one that has to be answered to its end.
fn conversation(random: &mut Random) -> (Vec<u8>, bool) {
    let mut messages = Vec::new();
    if random.chance(10) {
        let code = *random.pick(&[80_877_103, 80_877_104, 80_877_102]);
        messages.push(request(code, random));
    }
    messages.push(startup(if random.chance(95) { "root" } else { "nobody" }));
    for _ in 0..random.below(12) {
        messages.push(message(random));
    }
    let changed = random.chance(80);
    if !changed {
        let sync = Message::new(b'S', Vec::new());
        messages = vec![startup("root"), parse(random), bind(random), sync];
    }
    messages.push(Message::new(b'X', Vec::new()));
    if changed && random.chance(30) {
        let (a, b) = (random.index(messages.len()), random.index(messages.len()));
        messages.swap(a, b);
    }
    let mut bytes = Vec::new();
    for message in &messages {
        message.write(&mut bytes);
        if changed && random.chance(5) {
            message.write(&mut bytes);
        }
    }
    if changed {
        change(&mut bytes, random);
    }
    (bytes, !changed)
}

/// Changes a few places.
fn change(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..random.below(5) {
        let at = random.index(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
        match random.below(5) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.number() as u8,
            2 => {
                // Four bytes that may be a length.
                let length: u32 = *random.pick(&[0, 1, 3, 4, 5, 0xffff, 0x7fff_ffff, 0xffff_ffff]);
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&length.to_be_bytes()[..end - at]);
            }
            3 if bytes.len() > 20 => bytes.truncate(at.max(1)),
            _ => {
                let mut noise = vec![0; random.index(12)];
                random.fill(&mut noise);
                bytes.splice(at..at, noise);
            }
        }
    }
}

fn memory(server: &Server) -> u64 {
    let pid = server.pid().expect("the server runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// How many of the bytes that are left are sent next.
fn piece(rest: usize, random: &mut Random) -> usize {
    if random.chance(70) { rest } else { 1 + random.index(rest) }
}

/// One conversation, and what has to hold of its answer.
async fn converse(address: &str, seed: u64, number: u64) {
    let mut random = Random::new(seed).fork(number);
    let (bytes, whole) = conversation(&mut random);
    let (answer, reset) = talk(address, &bytes, |rest| piece(rest, &mut random)).await;
    match tags(&answer) {
        Ok(tags) => {
            let answered = tags.iter().filter(|tag| **tag == b'Z').count() == 2;
            assert!(!whole || answered, "seed {seed}, conversation {number}: {tags:?}");
        }
        // What was on its way is lost with a connection that is reset.
        Err(error) => assert!(reset, "seed {seed}, conversation {number}: {error}: {answer:?}"),
    }
}

/// The server is there for everybody else.
async fn look(server: &mut Server, seed: u64) {
    assert_eq!(server.has_ended(), None, "seed {seed}: the server has ended");
    let root = server.root().await;
    assert_eq!(root.one("SELECT count(*) FROM t WHERE k = 1000000").await, "1", "seed {seed}");
    let log = std::fs::read_to_string(server.log()).expect("the log can be read");
    let panicked = log.lines().find(|line| line.contains("panic"));
    assert_eq!(panicked, None, "seed {seed}");
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_ends_too_early_is_answered_with_what_is_wrong() {
    let server = Server::start().await;
    for tag in *b"PBDEC" {
        let mut bytes = Vec::new();
        startup("root").write(&mut bytes);
        Message::new(tag, Vec::new()).write(&mut bytes);
        let (answer, _) = talk(server.address(), &bytes, |rest| rest).await;
        let tags = tags(&answer).expect("whole messages");
        assert_eq!(tags.iter().filter(|said| **said == b'E').count(), 1, "{}", tag as char);
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("08P01"), "{}: {text}", tag as char);
    }
    server.assert_healthy().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_end_their_connection_and_nothing_else() {
    let limit = Duration::from_secs(variable("CAIRN_WIRE_SECONDS").unwrap_or(6));
    let seed = variable("CAIRN_WIRE_SEED").unwrap_or(1);
    let mut server = Server::start().await;
    let root = server.root().await;
    root.run("CREATE TABLE t (k INT8 PRIMARY KEY, v TEXT)").await;
    root.run("INSERT INTO t VALUES (1000000, 'kept')").await;
    drop(root);
    let (began, mut before) = (Instant::now(), None);
    let mut count = 0;
    while began.elapsed() < limit {
        // Side by side: each one waits for the server to notice that its client has gone.
        let some = futures::stream::iter(count..count + BETWEEN_LOOKS).map(|number| {
            let address = server.address().to_owned();
            tokio::spawn(async move { converse(&address, seed, number).await })
        });
        let mut some = some.buffer_unordered(TOGETHER);
        while let Some(one) = some.next().await {
            one.expect("a conversation ends as it should");
        }
        drop(some);
        count += BETWEEN_LOOKS;
        look(&mut server, seed).await;
        let now = memory(&server);
        let before = *before.get_or_insert(now);
        assert!(now < before + MEMORY_SLACK, "seed {seed}: memory grew from {before} to {now}");
    }
    look(&mut server, seed).await;
    println!("seed {seed}: {count} conversations");
    server.assert_healthy().await;
}
