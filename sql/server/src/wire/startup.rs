//! Login: under `--insecure` every existing user comes in without a password, an unknown one gets 28000.

use super::connection::Connection;
use super::errors::{fatal, login_error};
use async_trait::async_trait;
use cairn_sql::Session;
use futures::{Sink, SinkExt};
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::{
    ClientInfo, METADATA_DATABASE, METADATA_USER, PidSecretKeyGenerator,
    RandomPidSecretKeyGenerator,
};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::startup::ParameterStatus;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::{Arc, LazyLock};

/// The variables a client is told when it logs in.
const REPORTED: [&str; 13] = [
    "server_version",
    "server_encoding",
    "client_encoding",
    "application_name",
    "session_authorization",
    "is_superuser",
    "default_transaction_read_only",
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "integer_datetimes",
    "standard_conforming_strings",
    "search_path",
];
/// Startup parameters that are not variables of the session.
const NOT_VARIABLES: [&str; 4] = ["user", "database", "replication", "options"];

/// Tags of statements after which the reported variables may be others.
const CHANGES_VARIABLES: [&str; 3] = ["SET", "RESET", "DISCARD ALL"];

static KEYS: LazyLock<RandomPidSecretKeyGenerator> =
    LazyLock::new(RandomPidSecretKeyGenerator::default);

#[async_trait]
impl StartupHandler for Connection {
    async fn on_startup<C>(
        &self,
        client: &mut C,
        message: PgWireFrontendMessage,
    ) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = &message else {
            return Err(fatal("08P01", "expected a startup message".to_owned()));
        };
        protocol_negotiation(client, startup).await?;
        save_startup_parameters_to_metadata(client, startup);
        let Some(user) = client.metadata().get(METADATA_USER).cloned() else {
            return Err(fatal("28000", "no user name in the startup message".to_owned()));
        };
        // Without a name PostgreSQL takes the user's; Cairn has one database to begin with.
        let database = match client.metadata().get(METADATA_DATABASE) {
            Some(name) if !name.is_empty() && *name != user => name.clone(),
            _ => "defaultdb".to_owned(),
        };
        let session =
            self.database.session(&user, &database).map_err(|error| login_error(&error))?;
        for (name, value) in client.metadata() {
            if !NOT_VARIABLES.contains(&name.as_str()) && !name.starts_with("_pq_.") {
                session.set_variable(name, value).map_err(|error| login_error(&error))?;
            }
        }
        let (_, key) = KEYS.generate(client);
        client.set_pid_and_secret_key(session.pid(), key.clone());
        let cancel = session.cancel_handle();
        let registration = self.keys.register(session.pid(), key, move || cancel.cancel());
        let session = Arc::new(session);
        self.logged_in(Arc::clone(&session), registration);
        finish_authentication(client, &Parameters(session)).await
    }
}

impl Connection {
    /// Tells the client the variables it follows, after a statement that may have changed them.
    pub(super) async fn report_variables<C>(&self, client: &mut C, tag: &str) -> PgWireResult<()>
    where
        C: Sink<PgWireBackendMessage> + Unpin + Send,
        C::Error: Debug,
        PgWireError: From<C::Error>,
    {
        if !CHANGES_VARIABLES.contains(&tag) {
            return Ok(());
        }
        for (name, value) in reported(self.session()?) {
            let status = ParameterStatus::new(name, value);
            client.feed(PgWireBackendMessage::ParameterStatus(status)).await?;
        }
        Ok(())
    }
}

fn reported(session: &Session) -> HashMap<String, String> {
    REPORTED.iter().filter_map(|name| Some(((*name).to_owned(), session.variable(name)?))).collect()
}

/// What a client is told about the server when it logs in.
struct Parameters(Arc<Session>);

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, _client: &C) -> Option<HashMap<String, String>> {
        Some(reported(&self.0))
    }
}
