//! Messages of PostgreSQL's protocol as bytes, for suites that send what no client would.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Longest time until a connection ends after its client has closed its half; only a hang reaches it.
const HANGS: Duration = Duration::from_secs(20);

/// Version 3.0, in the place of a tag.
const PROTOCOL: u32 = 196_608;

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// None for those of the startup.
    pub tag: Option<u8>,
    /// What follows the length.
    pub body: Vec<u8>,
}

impl Message {
    /// One with a tag.
    #[must_use]
    pub fn new(tag: u8, body: Vec<u8>) -> Self {
        Self { tag: Some(tag), body }
    }

    /// Appends its bytes: tag, length (4 and those of the body), body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.tag);
        out.extend((self.body.len() as u32 + 4).to_be_bytes());
        out.extend(&self.body);
    }
}

/// Appends a text and the 0 that ends it.
pub fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(text.as_bytes());
    out.push(0);
}

/// What a client says first.
#[must_use]
pub fn startup(user: &str) -> Message {
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for (name, value) in [("user", user), ("database", "defaultdb"), ("client_encoding", "UTF8")] {
        text(&mut body, name);
        text(&mut body, value);
    }
    body.push(0);
    Message { tag: None, body }
}

/// Sends the bytes in pieces, closes this half, and reads to the end. What came, and whether it ended by a reset.
/// `piece` says how many of the bytes that are left, which are not none, go next.
///
/// # Panics
/// The server does not accept, or the connection does not end within 20 seconds.
pub async fn talk(
    address: &str,
    bytes: &[u8],
    mut piece: impl FnMut(usize) -> usize,
) -> (Vec<u8>, bool) {
    let mut socket = TcpStream::connect(address).await.expect("the server accepts");
    socket.set_nodelay(true).expect("a socket");
    let mut rest = bytes;
    while !rest.is_empty() {
        let (next, after) = rest.split_at(piece(rest.len()));
        if socket.write_all(next).await.is_err() {
            // It has seen enough.
            break;
        }
        rest = after;
    }
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    let read = tokio::time::timeout(HANGS, socket.read_to_end(&mut answer)).await;
    let read = read.expect("the connection ends");
    (answer, read.is_err())
}

/// Tags of the messages in an answer.
///
/// # Errors
/// What is not a whole message of the protocol.
pub fn tags(mut answer: &[u8]) -> Result<Vec<u8>, String> {
    let mut tags = Vec::new();
    // The answers to requests for encryption have no length.
    while let [b'N', rest @ ..] = answer {
        if matches!(rest, [0, 0, ..]) {
            break;
        }
        answer = rest;
    }
    while let [tag, a, b, c, d, rest @ ..] = answer {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if !b"RSKZTDCENnts123IvVAGHWdc".contains(tag) {
            return Err(format!("a message of the unknown type {tag}"));
        }
        let Some(body) = length.checked_sub(4).and_then(|length| rest.get(length..)) else {
            return Err(format!("{} of {length} bytes of {:?}", rest.len() + 4, *tag as char));
        };
        tags.push(*tag);
        answer = body;
    }
    if answer.is_empty() { Ok(tags) } else { Err(format!("{} bytes behind", answer.len())) }
}
