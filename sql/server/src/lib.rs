//! What a server of one's own is made of: PostgreSQL's wire protocol over a [`cairn_sql::Database`].
//!
//! The binary `cairn` is this, a command line and metrics. Who embeds Cairn in a server binds a socket and calls
//! [`wire::serve`].

pub mod wire;
