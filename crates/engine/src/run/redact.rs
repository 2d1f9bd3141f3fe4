//! Secrets stay out of logs: passwords in URLs, and the passcode of the job itself.

use std::sync::LazyLock;

use regex::Regex;

use crate::domain::SecretText;

/// Characters of a line of a job's log.
const LONGEST_LINE: usize = 2000;
const HIDDEN: &str = "***";

/// `None` cannot happen: the pattern is a constant that the test below compiles.
static URL_CREDENTIALS: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"://[^/@\s]*:[^/@\s]*@").ok());

/// The line as it may be kept: one line, not too long, without secrets.
pub(crate) fn redact(line: &str, passcode: Option<&SecretText>) -> String {
    let mut line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST_LINE).collect();
    if let Some(pattern) = URL_CREDENTIALS.as_ref() {
        line = pattern.replace_all(&line, "://***@").into_owned();
    }
    match passcode {
        Some(secret) if !secret.expose().is_empty() => line.replace(secret.expose(), HIDDEN),
        _ => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_passcodes_are_hidden_and_a_line_stays_a_line() {
        let passcode = SecretText::new("hunter2222");
        let line = redact("dial postgresql://me:secret@host/db\nwith hunter2222", Some(&passcode));
        assert_eq!(line, "dial postgresql://***@host/db with ***");
        assert_eq!(redact(&"x".repeat(5000), None).len(), LONGEST_LINE);
    }
}
