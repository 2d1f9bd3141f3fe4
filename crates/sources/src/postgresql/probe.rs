//! Everything that would make a capture fail or is worth a warning.

use super::{session::Session, settings::Settings, tools::Tools};
use crate::{Finding, Severity};

pub(super) fn probe(settings: &Settings) -> Vec<Finding> {
    let failed =
        |error: crate::SourceError| Finding { severity: Severity::Error, sentence: error.sentence, hint: error.hint };
    let mut findings = Vec::new();
    match Session::open(settings, "trivault source test") {
        Ok(session) => findings.push(Finding {
            severity: Severity::Fine,
            sentence: format!("{} answers; the server's version is {}.", settings.location(), session.server_version()),
            hint: None,
        }),
        Err(error) => findings.push(failed(error)),
    }
    if let Err(error) = Tools::find(settings) {
        findings.push(failed(error));
    }
    findings
}
