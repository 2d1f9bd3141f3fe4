//! `trivault verify`.

use std::path::Path;

use trivault_engine::{
    BackupId, Engine, ErrorCode, JobState, ReadShare, StartVerify, Store, StoreId, VerifyLevel, VerifyStatus,
};

use super::{
    args::{Common, VerifyCommand},
    backup::passcode,
    retention::find,
    session::{Session, sentence, with_hint},
};
use crate::output;

pub async fn run(common: &Common, command: VerifyCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    match command {
        VerifyCommand::Status { json } => status(&session, json).await,
        VerifyCommand::Store { store, read } => {
            let read = share(&read)?;
            let store = store_of(&session, store.as_deref()).await?;
            let vaults = session.engine.vaults(&session.caller).await.map_err(sentence)?;
            let mut outcome = Ok(());
            for vault in vaults.iter().filter(|vault| vault.store == store.id) {
                let what = StartVerify::Vault { vault: vault.id, read };
                outcome = outcome.and(follow(&session, what, false, &format!("{}/{}", store.name, vault.path)).await);
            }
            outcome
        }
        VerifyCommand::Repository { repository } => {
            let repository = find(&session, &repository).await?;
            follow(&session, StartVerify::Repository(repository.id), false, &repository.name).await
        }
        VerifyCommand::Backup { id, passcode_file } => {
            let passcode = passcode_file.as_deref().map(|path: &Path| passcode(path)).transpose()?;
            let here = passcode.is_some();
            let what = StartVerify::Backup { backup: BackupId(id), passcode };
            follow(&session, what, here, &id.to_string()).await
        }
    }
}

/// Starts a check and follows it; its findings are printed whatever its end.
async fn follow(session: &Session, what: StartVerify, here: bool, name: &str) -> Result<(), String> {
    let (engine, caller) = (&session.engine, &session.caller);
    let job = engine.start_verify(caller, what).await.map_err(sentence)?;
    let outcome = session.follow(job.id, here, true).await;
    let job = engine.job(caller, job.id).await.map_err(sentence)?;
    for warning in &job.warnings {
        output::line(&format!("  {}", warning.sentence))?;
    }
    match (job.state, outcome) {
        (JobState::Succeeded, _) => {
            output::line(&format!("{name}: whole ({} read)", output::bytes(job.progress.bytes_read)))
        }
        (_, Err(error)) => Err(format!("{name}: {error}")),
        (state, Ok(_)) => Err(with_hint(&format!("{name}: the check ended {}.", output::word(&state)), None)),
    }
}

async fn status(session: &Session, json: bool) -> Result<(), String> {
    let (engine, caller) = (&session.engine, &session.caller);
    let status = engine.verify_status(caller).await.map_err(sentence)?;
    if json {
        return output::json(&status);
    }
    let mut table = output::Table::new(&["STORE", "WHAT", "LEVEL", "LAST GOOD", "LAST RUN", "STATE"]);
    for one in &status {
        let store = store_name(engine, session, one.store).await?;
        let name = match one.level {
            VerifyLevel::Structure | VerifyLevel::Data => format!("vault {}", one.name),
            VerifyLevel::Restore => format!("repository {}", one.name),
        };
        let good = one.succeeded_at.map_or_else(|| "never".to_owned(), |at| output::instant(Some(at)));
        let last = output::instant(one.concluded_at);
        table.row(vec![store, name, output::word(&one.level), good, last, state(one)]);
    }
    table.print()
}

fn state(status: &VerifyStatus) -> String {
    let mut words = Vec::new();
    match (status.damaged, status.succeeded_at) {
        (0, None) => words.push("never verified".to_owned()),
        (0, Some(_)) => words.push("good".to_owned()),
        (count, _) => words.push(format!("{count} DAMAGED")),
    }
    if status.overdue {
        words.push("OVERDUE".to_owned());
    }
    words.join(", ")
}

async fn store_name(engine: &Engine, session: &Session, id: StoreId) -> Result<String, String> {
    match engine.store(&session.caller, id).await {
        Ok(store) => Ok(store.name),
        Err(error) if matches!(error.code, ErrorCode::NotFound(_)) => Ok("-".to_owned()),
        Err(error) => Err(sentence(error)),
    }
}

/// The store of that name, or the default one.
pub async fn store_of(session: &Session, name: Option<&str>) -> Result<Store, String> {
    let (engine, caller) = (&session.engine, &session.caller);
    match name {
        Some(name) => engine.store_named(caller, name).await.map_err(sentence),
        None => engine.default_store(caller).await.map_err(sentence),
    }
}

fn share(text: &str) -> Result<ReadShare, String> {
    let wrong = || format!("`{text}` is not how much can be read; say `none`, `all` or a share like `3/30`.");
    match text {
        "none" => Ok(ReadShare::None),
        "all" => Ok(ReadShare::All),
        share => {
            let (part, of) = share.split_once('/').ok_or_else(wrong)?;
            let number = |text: &str| text.parse().map_err(|_| wrong());
            Ok(ReadShare::Share { part: number(part)?, of: number(of)? })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_much_is_read_is_a_word_or_a_share() {
        assert_eq!(share("none"), Ok(ReadShare::None));
        assert_eq!(share("all"), Ok(ReadShare::All));
        assert_eq!(share("3/30"), Ok(ReadShare::Share { part: 3, of: 30 }));
        for wrong in ["", "half", "1/", "/2", "-1/3", "1/2/3"] {
            assert!(share(wrong).unwrap_err().contains("3/30"), "{wrong}");
        }
    }
}
