//! Connections that do not come about.

use std::net::TcpListener;

use trivault_sources::{ErrorKind, Severity};
use trivault_testkit::postgres::{PostgresServer, Variant};

use crate::{driver, fake, finding, refusal, works};

const PASSWORD: &str = "Correct-horse-7";

/// A server on TCP that asks `ada` for a password.
fn with_password() -> Option<PostgresServer> {
    let server = PostgresServer::own(&Variant {
        tcp: true,
        host_based_access: vec!["host all ada,eve 127.0.0.1/32 scram-sha-256".into()],
        ..Variant::default()
    })?;
    server.query("postgres", &format!("CREATE ROLE ada LOGIN PASSWORD '{PASSWORD}'"));
    server.query("postgres", "CREATE DATABASE bank OWNER ada");
    Some(server)
}

#[test]
fn a_wrong_password_an_unknown_user_no_password_and_no_line_of_pg_hba_are_told_apart() {
    let Some(server) = with_password() else { return };
    let url = |user: &str| format!("postgresql://{user}@127.0.0.1:{}/bank", server.port());
    let findings = works(&url("ada"), Some(PASSWORD));
    let answer = finding(&findings, "answers: PostgreSQL");
    assert!(answer.sentence.contains("in encoding UTF8"), "{answer:?}");
    assert!(finding(&findings, "pg_authid").hint.is_some());
    assert!(finding(&findings, "Backups are made with pg_dump").severity == Severity::Fine);

    let (kind, sentence, hint) = refusal(&url("ada"), Some("wrong-password"));
    assert_eq!((kind, sentence.as_str()), (ErrorKind::Denied, "PostgreSQL refused the password for user ada."));
    assert!(hint.contains("may also not exist"), "{hint}");
    let (_, sentence, _) = refusal(&url("eve"), Some(PASSWORD));
    assert_eq!(sentence, "PostgreSQL refused the password for user eve.");
    let (kind, sentence, hint) = refusal(&url("ada"), None);
    assert_eq!(kind, ErrorKind::Denied);
    assert!(sentence.contains("asks for the password of user ada") && hint.contains("PGPASSFILE"), "{sentence} {hint}");
    let (kind, sentence, hint) = refusal(&url("mallory"), Some(PASSWORD));
    assert_eq!(kind, ErrorKind::Denied);
    assert!(sentence.contains("does not let user mallory in from this address"), "{sentence}");
    assert!(hint.contains("hostssl bank mallory"), "{hint}");
}

#[test]
fn a_database_that_is_not_there_is_refused_with_those_that_are() {
    let Some(server) = with_password() else { return };
    let url = format!("postgresql://ada@127.0.0.1:{}/bnak", server.port());
    let (kind, sentence, hint) = refusal(&url, Some(PASSWORD));
    assert_eq!((kind, sentence.as_str()), (ErrorKind::Missing, "There is no database bnak on the server."));
    assert_eq!(hint, "There are: bank, postgres, template1.");
    server.query("postgres", "REVOKE CONNECT ON DATABASE bank FROM PUBLIC, ada");
    let (kind, sentence, hint) = refusal(&url.replace("bnak", "bank"), Some(PASSWORD));
    assert_eq!(kind, ErrorKind::Denied);
    assert!(sentence.contains("may not connect") && hint.starts_with("GRANT CONNECT"), "{sentence} {hint}");
}

#[test]
fn nothing_that_listens_no_such_name_no_socket_and_a_server_that_hangs_up_are_unavailable() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let (kind, sentence, hint) = refusal(&format!("postgresql://u@127.0.0.1:{free}/d"), None);
    assert_eq!((kind, sentence), (ErrorKind::Unavailable, format!("Nothing listens at 127.0.0.1:{free}.")));
    assert!(hint.contains("listen_addresses"), "{hint}");
    let (kind, sentence, hint) = refusal("postgresql://u@no-such-host.invalid/d", None);
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(sentence.starts_with("The name no-such-host.invalid cannot be resolved"), "{sentence}");
    assert!(hint.contains("DNS"), "{hint}");
    let (kind, sentence, hint) = refusal("postgresql:///d?host=/nowhere&user=u", None);
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(sentence.contains("/nowhere/.s.PGSQL.5432") && hint.contains("unix_socket_directories"), "{sentence}");
    let port = fake::listen(|mut connection| drop(fake::startup(&mut connection)));
    let (kind, sentence, _) = refusal(&format!("postgresql://u@127.0.0.1:{port}/d"), None);
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(sentence.contains("broke the connection off"), "{sentence}");
}

#[test]
fn a_server_that_never_answers_is_given_up_after_ten_seconds() {
    // Connections stay in the listener's queue.
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let first = driver(&format!("postgresql://u@127.0.0.1:{port}/d"), None).probe().into_iter().next().unwrap();
    assert_eq!(first.sentence, format!("u@127.0.0.1:{port}/d gave no answer in 10 seconds."));
    assert_eq!(first.hint.as_deref(), Some("Check host, port and firewall."));
}

#[test]
fn a_server_that_is_full_or_starting_is_unavailable() {
    let variant = Variant {
        tcp: true,
        settings: ["max_connections=6", "superuser_reserved_connections=3", "max_wal_senders=0"]
            .map(str::to_owned)
            .into(),
        ..Variant::default()
    };
    let Some(server) = PostgresServer::own(&variant) else { return };
    server.query("postgres", "CREATE ROLE ada LOGIN");
    let url = format!("postgresql://ada@127.0.0.1:{}/postgres", server.port());
    let few = finding(&works(&url, None), "free connections");
    assert!(few.hint.unwrap().contains("workers"), "{}", few.sentence);
    let mut held: Vec<Held> = (0..3).map(|_| Held::new(server.port())).collect();
    let (kind, sentence, hint) = refusal(&url, None);
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(sentence.contains("no free connection") && hint.contains("max_connections"), "{sentence} {hint}");
    held.iter_mut().for_each(Held::end);

    let port = fake::listen(|mut connection| {
        fake::startup(&mut connection);
        fake::fail(&mut connection, "57P03", "the database system is starting up");
    });
    let (kind, sentence, hint) = refusal(&format!("postgresql://u@127.0.0.1:{port}/d"), None);
    assert_eq!(kind, ErrorKind::Unavailable);
    assert!(sentence.contains("starting up") && hint.contains("tried again"), "{sentence} {hint}");
}

#[test]
fn a_pooler_is_found_by_the_database_that_only_it_has() {
    let Some(server) = PostgresServer::own(&Variant { tcp: true, ..Variant::default() }) else { return };
    let real = server.port();
    let port = fake::listen(move |mut connection| {
        let first = fake::startup(&mut connection);
        if String::from_utf8_lossy(&first).contains("database\0pgbouncer\0") {
            fake::fail(&mut connection, "08P01", "not allowed");
        } else {
            fake::forward(connection, &first, real);
        }
    });
    let (kind, sentence, hint) = refusal(&format!("postgresql://postgres@127.0.0.1:{port}/postgres"), None);
    assert_eq!(kind, ErrorKind::Unsupported);
    assert_eq!(sentence, format!("PgBouncer answers at port {port}, not PostgreSQL itself."));
    assert!(hint.contains(&real.to_string()), "{hint}");

    // A server behind a forwarded port is none.
    let port = fake::listen(move |mut connection| {
        let first = fake::startup(&mut connection);
        fake::forward(connection, &first, real);
    });
    works(&format!("postgresql://postgres@127.0.0.1:{port}/postgres"), None);

    let strict = fake::listen(|mut connection| {
        fake::startup(&mut connection);
        fake::fail(&mut connection, "08P01", "unsupported startup parameter: options");
    });
    let (kind, _, hint) = refusal(&format!("postgresql://postgres@127.0.0.1:{strict}/postgres"), None);
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(hint.contains("PgBouncer"), "{hint}");
}

/// A connection of an ordinary user, for as long as a test wants.
struct Held(std::net::TcpStream);

impl Held {
    /// The one before may not have ended yet, so that this one is refused at first.
    fn new(port: u16) -> Self {
        let begun = std::time::Instant::now();
        loop {
            if let Some(held) = Self::attempt(port) {
                return held;
            }
            assert!(begun.elapsed().as_secs() < 30, "no connection becomes free");
        }
    }

    fn attempt(port: u16) -> Option<Self> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let body = b"\0\x03\0\0user\0ada\0database\0postgres\0\0";
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        stream.write_all(&[&length[..], body].concat()).unwrap();
        loop {
            let mut head = [0; 5];
            stream.read_exact(&mut head).unwrap();
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize - 4;
            stream.read_exact(&mut vec![0; length]).unwrap();
            match head[0] {
                // Ready for a statement.
                b'Z' => return Some(Self(stream)),
                b'E' => return None,
                _ => {}
            }
        }
    }

    fn end(&mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Both);
    }
}
