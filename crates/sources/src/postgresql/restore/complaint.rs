//! What `pg_restore` says on its way out, as a kind, a sentence and a hint.

use crate::{ErrorKind, SourceError};

/// Longest message that is passed on, characters.
const MESSAGE_CHARACTERS: usize = 400;

/// Parts of messages, what they mean, and what to do. The first that fits counts.
const KNOWN: [(&str, ErrorKind, &str); 14] = [
    ("No space left on device", ErrorKind::Full, "Free some space on the server's disk."),
    ("could not extend file", ErrorKind::Full, "Free some space on the server's disk."),
    ("must be superuser", ErrorKind::Denied, "Let a superuser restore this backup, or leave these things out."),
    ("must be member of role", ErrorKind::Denied, MEMBERSHIP),
    ("must be able to SET ROLE", ErrorKind::Denied, MEMBERSHIP),
    ("permission denied", ErrorKind::Denied, "Give the source's account this right, or let a superuser restore."),
    ("must be owner of", ErrorKind::Denied, "Let the owner or a superuser restore."),
    ("is not available", ErrorKind::Missing, "Install the extension's package on the server's machine."),
    (
        "could not open extension control file",
        ErrorKind::Missing,
        "Install the extension's package on the server's machine.",
    ),
    (
        "unsupported version",
        ErrorKind::Unsupported,
        "Install the postgresql-client of the version that made the backup.",
    ),
    ("terminating connection", ErrorKind::Unavailable, "The server ended the connection; see its log."),
    ("connection to server", ErrorKind::Unavailable, LOST),
    ("server closed the connection", ErrorKind::Unavailable, LOST),
    ("no connection to the server", ErrorKind::Unavailable, LOST),
];
const LOST: &str = "The connection to the server was lost; see its log.";
const MEMBERSHIP: &str =
    "Make the source's account a member of the owners' roles, or set its option missing_roles to \"ignore\".";

/// The error behind a `pg_restore` that failed.
pub(super) fn explain(said: &str) -> SourceError {
    let message = message(said);
    let known = KNOWN.iter().find(|(part, ..)| message.contains(part));
    let no_role = message.contains("role \"") && message.contains("does not exist");
    let kind = known.map_or(ErrorKind::Invalid, |(_, kind, _)| *kind);
    let error = SourceError::new(kind, format!("pg_restore: {}.", message.trim_end_matches('.')));
    match (no_role, known) {
        (true, _) => error.hint("Create the role first, or set the source's option missing_roles to \"ignore\"."),
        (false, Some((_, _, hint))) => error.hint(*hint),
        (false, None) => error,
    }
}

/// The server's own message where there is one, else the program's first line; with the command it belongs to, up to its
/// first string: subscriptions and user mappings hold passwords in theirs.
fn message(said: &str) -> String {
    let line = said
        .lines()
        .find_map(|line| line.split_once("ERROR:  ").map(|(_, message)| message))
        .or_else(|| said.lines().find_map(|line| line.strip_prefix("pg_restore: error: ")))
        .or_else(|| said.lines().find(|line| !line.trim().is_empty()));
    let Some(line) = line else { return "it failed and said nothing".to_owned() };
    let command = said.lines().find_map(|line| line.strip_prefix("Command was: "));
    let text = match command {
        Some(command) => format!("{} (at: {})", line.trim(), without_strings(command.trim())),
        None => line.trim().to_owned(),
    };
    text.chars().take(MESSAGE_CHARACTERS).collect()
}

fn without_strings(command: &str) -> String {
    match command.split_once(['\'', '$']) {
        Some((beginning, _)) => format!("{}...", beginning.trim_end()),
        None => command.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_in_a_definition_does_not_reach_the_message() {
        let error = explain(
            "pg_restore: error: could not execute query: ERROR:  must be superuser to create subscriptions\n\
             Command was: CREATE SUBSCRIPTION s CONNECTION 'host=h password=hunter22' PUBLICATION p;\n",
        );
        assert!(error.sentence.ends_with("(at: CREATE SUBSCRIPTION s CONNECTION...)."), "{}", error.sentence);
        assert!(!format!("{error:?}").contains("hunter22"));
    }

    #[test]
    fn a_missing_role_is_named_with_what_to_do() {
        let error = explain(
            "pg_restore: while PROCESSING TOC:\npg_restore: from TOC entry 3; 2615 16386 SCHEMA app alice\n\
             pg_restore: error: could not execute query: ERROR:  role \"alice\" does not exist\n\
             Command was: ALTER SCHEMA app OWNER TO alice;\n",
        );
        assert_eq!(error.sentence, "pg_restore: role \"alice\" does not exist (at: ALTER SCHEMA app OWNER TO alice;).");
        assert!(error.hint.unwrap_or_default().contains("missing_roles"));
    }

    #[test]
    fn a_full_disk_a_refusal_and_silence_are_told_apart() {
        let kind = |text: &str| explain(text).kind;
        assert_eq!(
            kind("pg_restore: error: x: ERROR:  could not extend file \"base/1\": No space left"),
            ErrorKind::Full
        );
        assert_eq!(kind("pg_restore: error: x: ERROR:  permission denied for schema s"), ErrorKind::Denied);
        assert_eq!(kind("pg_restore: error: unsupported version (1.16) in file header"), ErrorKind::Unsupported);
        // The server was killed in the middle of a statement.
        assert_eq!(
            kind(
                "pg_restore: error: could not execute query: server closed the connection unexpectedly\nCommand was: x"
            ),
            ErrorKind::Unavailable
        );
        assert_eq!(explain("").sentence, "pg_restore: it failed and said nothing.");
    }
}
