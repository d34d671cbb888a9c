//! Any bytes as a conversation with a server.

use std::sync::LazyLock;

use cairn_server::wire::{is_decoding, serve};
use cairn_sql::{Database, DatabaseOptions};
use cairn_tests::Client;
use cairn_tests::wire::{Message, startup, tags, talk};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{RUNTIME, place};

/// Messages of a conversation at most.
const MESSAGES_MAX: usize = 24;

/// The first byte: the bytes behind it are sent as they are, without a startup.
const RAW: u8 = 0xff;

/// A server in this process that all inputs talk to.
struct Served {
    address: String,
    /// Connected all the time.
    other: Client,
    _database: Database,
    _store: TempDir,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    // A panic anywhere in the server is a finding, unless it is a client's malformed message.
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !is_decoding() {
            report(panic);
            std::process::abort();
        }
    }));
    let store = TempDir::new_in(place()).expect("a folder can be made");
    let database = Database::open(DatabaseOptions::small(store.path())).expect("it opens");
    let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
    let address = listener.local_addr().expect("it is bound").to_string();
    RUNTIME.spawn(serve(listener, database.clone(), CancellationToken::new()));
    let url = format!("postgresql://root@{address}/defaultdb");
    let other = RUNTIME.block_on(Client::connect(&url)).expect("root may log in");
    Served { address, other, _database: database, _store: store }
});

/// Strategy: a login as root, then messages, each made from a tag, a length of two bytes and that much of a body, so that
/// most are whole; or, behind a first byte of 255, the bytes as they are. The client's half is closed then.
/// Invariants: the connection ends; what the server sends is whole messages; nothing panics but the decoder, whose panic
/// is the client's error; another client is answered.
pub fn wire(data: &[u8]) {
    let served = &*SERVED;
    RUNTIME.block_on(async {
        let (answer, reset) = talk(&served.address, &conversation(data), |rest| rest).await;
        // What was on its way is lost with a connection that is reset.
        if let Err(error) = tags(&answer) {
            assert!(reset, "{error}: {answer:?}");
        }
        assert_eq!(served.other.one("SELECT 1").await, "1");
    });
}

fn conversation(data: &[u8]) -> Vec<u8> {
    if let [RAW, raw @ ..] = data {
        return raw.to_vec();
    }
    let mut bytes = Vec::new();
    startup("root").write(&mut bytes);
    let mut rest = data;
    for _ in 0..MESSAGES_MAX {
        let [tag, low, high, body @ ..] = rest else { break };
        let length = usize::from(u16::from_le_bytes([*low, *high])).min(body.len());
        let (body, after) = body.split_at(length);
        Message::new(*tag, body.to_vec()).write(&mut bytes);
        rest = after;
    }
    bytes
}
