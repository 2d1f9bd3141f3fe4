//! What the server says, as a kind, a sentence and a hint (sources.md section 2a).

use std::io;

use sqlx::postgres::{PgDatabaseError, PgSslMode};

use super::{
    session::quote,
    settings::{Host, Settings},
};
use crate::{ErrorKind, SourceError};

/// A connection that did not come about.
pub(super) fn connecting(settings: &Settings, error: sqlx::Error) -> SourceError {
    let known = match &error {
        sqlx::Error::Database(_) => refused(settings, &code(&error).unwrap_or_default(), &message(&error)),
        sqlx::Error::Io(fault) => {
            encrypting(settings, &fault.to_string()).unwrap_or_else(|| unreachable(settings, fault))
        }
        other => encrypting(settings, &other.to_string()).unwrap_or_else(|| {
            let sentence = format!("{} cannot be reached: {}.", settings.location(), message(other));
            SourceError::new(ErrorKind::Unavailable, sentence)
        }),
    };
    known.because(error)
}

pub(super) fn no_answer(settings: &Settings) -> SourceError {
    SourceError::new(ErrorKind::Unavailable, format!("{} gave no answer in 10 seconds.", settings.location()))
        .hint("Check host, port and firewall.")
}

/// The server answered, and said no.
fn refused(settings: &Settings, code: &str, message: &str) -> SourceError {
    let Settings { user, database, .. } = settings;
    match code {
        // Under scram the server answers the same for a wrong password and for a user that is not there.
        "28P01" | "28000" if settings.password.is_none() && message.contains("password authentication failed") => {
            SourceError::new(
                ErrorKind::Denied,
                format!("The server asks for the password of user {user}, and none is known."),
            )
            .hint(
                "Give it: trivault source password NAME --password-file FILE, password_file, PGPASSWORD or PGPASSFILE.",
            )
        }
        "28P01" => SourceError::new(ErrorKind::Denied, format!("PostgreSQL refused the password for user {user}."))
            .hint("The user may also not exist; check both. `trivault source password` gives another one."),
        "28000" if message.contains("pg_hba.conf") => {
            let address = format!("The server does not let user {user} in from this address: {message}.");
            let encrypted = match settings.tls.mode {
                PgSslMode::Disable => " This connection was not encrypted (sslmode=disable); the server may want TLS.",
                _ => "",
            };
            SourceError::new(ErrorKind::Denied, address).hint(format!(
                "Add a line to pg_hba.conf, for example: hostssl {database} {user} ADDRESS/32 scram-sha-256.{encrypted}"
            ))
        }
        "28000" if message.contains("certificate") => SourceError::new(
            ErrorKind::Denied,
            format!("The server wants another certificate of the client: {message}."),
        )
        .hint("Give sslcert and sslkey in the URL; the certificate's common name must be the user's."),
        "28000" => SourceError::new(ErrorKind::Denied, format!("The server does not let user {user} in: {message}."))
            .hint("Does the role exist, with LOGIN? See \\du in psql."),
        "3D000" => SourceError::new(ErrorKind::Missing, format!("There is no database {database} on the server.")),
        "42501" => {
            SourceError::new(ErrorKind::Denied, format!("User {user} may not connect to {database}: {message}."))
                .hint(format!("GRANT CONNECT ON DATABASE {} TO {}", quote(database), quote(user)))
        }
        "53300" => SourceError::new(ErrorKind::Unavailable, format!("The server has no free connection: {message}."))
            .hint("It is tried again later. Lower the source's option workers, or raise max_connections."),
        "57P03" | "57P01" | "57P02" => {
            SourceError::new(ErrorKind::Unavailable, format!("The server is starting or stopping: {message}."))
                .hint("It is tried again later.")
        }
        "08P01" => SourceError::new(
            ErrorKind::Unsupported,
            format!("What answers for {} is not PostgreSQL itself: {message}.", settings.location()),
        )
        .hint("Behind a pooler such as PgBouncer a snapshot cannot be held; name the server's own address."),
        _ => SourceError::new(
            ErrorKind::Unavailable,
            format!("{} refused the connection: {message} ({code}).", settings.location()),
        ),
    }
}

/// There was no conversation.
fn unreachable(settings: &Settings, fault: &io::Error) -> SourceError {
    let unavailable = |sentence: String| SourceError::new(ErrorKind::Unavailable, sentence);
    let text = fault.to_string();
    match (&settings.host, fault.kind()) {
        (Host::Socket(folder), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => unavailable(format!(
            "No PostgreSQL server listens at the socket {}/.s.PGSQL.{}.",
            folder.display(),
            settings.port
        ))
        .hint("Does it run, and is its unix_socket_directories this folder and its port this one?"),
        (Host::Socket(folder), io::ErrorKind::PermissionDenied) => {
            SourceError::new(ErrorKind::Denied, format!("The socket in {} may not be used.", folder.display()))
                .hint("See unix_socket_permissions and the folder's mode.")
        }
        (Host::Name(name), io::ErrorKind::ConnectionRefused) => {
            unavailable(format!("Nothing listens at {name}:{}.", settings.port))
                .hint("Does the server run, and does its listen_addresses take in this address? Check the port.")
        }
        (
            Host::Name(name),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable,
        ) => unavailable(format!("{name}:{} does not answer: {text}.", settings.port))
            .hint("Check host, port and firewall."),
        (Host::Name(name), _) if text.contains("lookup") || text.contains("resolve") => {
            unavailable(format!("The name {name} cannot be resolved: {text}."))
                .hint("Check the host's name, and this machine's DNS.")
        }
        (_, io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            unavailable(format!("The server at {} broke the connection off: {text}.", settings.location()))
                .hint("Its log says why; it may be restarting, or be no PostgreSQL server.")
        }
        _ => unavailable(format!("{} cannot be reached: {}.", settings.location(), text.trim_end_matches('.'))),
    }
}

/// What TLS has to say, if it is that. The texts are those of rustls.
fn encrypting(settings: &Settings, text: &str) -> Option<SourceError> {
    let host = match &settings.host {
        Host::Name(name) => name.as_str(),
        Host::Socket(_) => "the socket",
    };
    let denied = |sentence: String| Some(SourceError::new(ErrorKind::Denied, sentence));
    if text.contains("server does not support TLS") {
        return denied(format!("Encryption is required (sslmode), and the server at {host} has none."))
            .map(|error| error.hint("Turn ssl on in the server, or lower sslmode in the URL."));
    }
    if text.contains("not valid for name") || text.contains("NotValidForName") {
        let text = text.rsplit("certificate not valid").next().unwrap_or(text);
        return denied(format!("The server's certificate is not for the name {host}: certificate not valid{text}."))
            .map(|error| error.hint("Give the host as it stands in the certificate, or use sslmode=verify-ca."));
    }
    // Another authority of the same name made it: its signature does not fit.
    if ["UnknownIssuer", "BadSignature", "CaUsedAsEndEntity"].iter().any(|fault| text.contains(fault)) {
        return denied(format!("The server's certificate at {host} was not made by a trusted authority."))
            .map(|error| error.hint("Name the authority's certificate by sslrootcert in the URL."));
    }
    if text.contains("invalid peer certificate") {
        let why = text.rsplit("invalid peer certificate: ").next().unwrap_or(text);
        return denied(format!("The server's certificate at {host} is refused: {why}."))
            .map(|error| error.hint("It may have expired, or this machine's clock may be wrong."));
    }
    if let Some((_, alert)) = text.split_once("received fatal alert: ") {
        return denied(format!("The server at {host} ended the encrypted connection: {alert}."))
            .map(|error| error.hint("It may not trust the client's certificate (sslcert), or want one."));
    }
    (text.contains("error occurred while attempting to establish a TLS connection") || text.contains("pem"))
        .then(|| SourceError::new(ErrorKind::Invalid, format!("The connection cannot be encrypted: {text}.")))
}

/// A statement that failed.
pub(super) fn statement(error: sqlx::Error) -> SourceError {
    let sentence = format!("PostgreSQL: {}.", message(&error));
    let kind = match code(&error).as_deref() {
        Some("42501") => ErrorKind::Denied,
        Some("57P01" | "57P02" | "57P03" | "53300" | "55P03" | "40001") => ErrorKind::Unavailable,
        Some("53100") => ErrorKind::Full,
        Some(_) => ErrorKind::Invalid,
        None => ErrorKind::Unavailable,
    };
    let hint = match code(&error).as_deref() {
        Some("40001") if sentence.contains("conflict with recovery") => {
            Some("Raise max_standby_streaming_delay on the standby, or turn hot_standby_feedback on.")
        }
        Some("53100") => Some("The server's disk is full."),
        None => Some("The connection was lost in the middle; the server's log says why."),
        Some(_) => None,
    };
    let mut failed = SourceError::new(kind, sentence).because(error);
    failed.hint = hint.map(str::to_owned);
    failed
}

/// SQLSTATE, where the server sent the error.
pub(super) fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// SQLSTATE of what became a [`SourceError`] here.
pub(super) fn code_of(error: &SourceError) -> Option<String> {
    code(error.source.as_deref()?.downcast_ref()?)
}

fn message(error: &sqlx::Error) -> String {
    let told = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    match told {
        Some(told) => told.message().trim_end_matches('.').to_owned(),
        None => error.to_string().trim_end_matches('.').to_owned(),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a server might have said, as the driver reports it.
    #[derive(Debug)]
    struct Said {
        code: &'static str,
        message: &'static str,
    }

    impl std::fmt::Display for Said {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(self.message)
        }
    }

    impl std::error::Error for Said {}

    impl sqlx::error::DatabaseError for Said {
        fn message(&self) -> &str {
            self.message
        }
        fn code(&self) -> Option<std::borrow::Cow<'_, str>> {
            Some(self.code.into())
        }
        fn as_error(&self) -> &(dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn as_error_mut(&mut self) -> &mut (dyn std::error::Error + Send + Sync + 'static) {
            self
        }
        fn into_error(self: Box<Self>) -> Box<dyn std::error::Error + Send + Sync + 'static> {
            self
        }
        fn kind(&self) -> sqlx::error::ErrorKind {
            sqlx::error::ErrorKind::Other
        }
    }

    /// A statement that failed with this SQLSTATE.
    pub(in crate::postgresql) fn said(code: &'static str, message: &'static str) -> SourceError {
        statement(sqlx::Error::Database(Box::new(Said { code, message })))
    }

    #[test]
    fn a_statement_that_a_standby_cancelled_may_be_tried_again() {
        let error = said("40001", "canceling statement due to conflict with recovery");
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.hint.unwrap_or_default().contains("max_standby_streaming_delay"));
        // Two writers in each other's way say 40001 too, and no standby has to do with it.
        let error = said("40001", "could not serialize access due to concurrent update");
        assert_eq!((error.kind, error.hint), (ErrorKind::Unavailable, None));
    }

    #[test]
    fn a_full_disk_a_refusal_and_a_lost_connection_are_told_apart() {
        let full = said("53100", "could not extend file \"base/1/2\": No space left on device");
        assert_eq!((full.kind, full.hint.as_deref()), (ErrorKind::Full, Some("The server's disk is full.")));
        assert_eq!(said("42501", "permission denied for table t").kind, ErrorKind::Denied);
        assert_eq!(said("57P02", "terminating connection because of a crash").kind, ErrorKind::Unavailable);
        assert_eq!(said("22P02", "invalid input syntax for type integer").kind, ErrorKind::Invalid);
        let lost = statement(sqlx::Error::Io(io::ErrorKind::ConnectionReset.into()));
        assert_eq!(lost.kind, ErrorKind::Unavailable);
        assert!(lost.hint.is_some());
    }
}
