//! `trivault prune`.

use trivault_engine::{PruneOf, StartPrune, Store, VaultKind, VaultRecord};

use super::{
    args::{Common, PruneArguments},
    session::{Session, sentence},
    verify::store_of,
};
use crate::output;

pub async fn run(common: &Common, arguments: PruneArguments) -> Result<(), String> {
    let session = Session::open(common).await?;
    let PruneArguments { store, dry_run, json } = arguments;
    let (engine, caller) = (&session.engine, &session.caller);
    let stores: Vec<Store> = match &store {
        Some(name) => vec![store_of(&session, Some(name)).await?],
        None => {
            let stores = engine.stores(caller).await.map_err(sentence)?;
            stores.into_iter().filter(|store| !store.read_only).collect()
        }
    };
    let vaults = engine.vaults(caller).await.map_err(sentence)?;
    let mut plans = Vec::new();
    let mut outcome = Ok(());
    for store in &stores {
        let here = |vault: &&VaultRecord| vault.store == store.id;
        for vault in vaults.iter().filter(here).filter(|vault| vault.kind == VaultKind::Server) {
            let name = format!("{}/{}", store.name, vault.path);
            if dry_run {
                let plan = engine.preview_prune(caller, vault.id).await.map_err(sentence)?;
                if !json {
                    output::line(&format!("{name}\n{}", indented(&plan.to_string())))?;
                }
                plans.push(serde_json::json!({ "vault": name, "plan": plan }));
            } else {
                outcome = outcome.and(prune(&session, vault, &name).await);
            }
        }
        let closed = vaults.iter().filter(here).filter(|vault| vault.kind == VaultKind::Passcode).count();
        if closed > 0 && !json {
            output::line(&format!(
                "{}: {closed} vaults under passcodes are not pruned, for the server does not keep passcodes; each is removed whole \
                 with its last backup.",
                store.name
            ))?;
        }
    }
    if json {
        return output::json(&plans);
    }
    outcome
}

async fn prune(session: &Session, vault: &VaultRecord, name: &str) -> Result<(), String> {
    let (engine, caller) = (&session.engine, &session.caller);
    let request = StartPrune { of: PruneOf::Vault(vault.id), task: None, job_attributes: Vec::new() };
    let job = engine.start_prune(caller, request).await.map_err(sentence)?;
    session.follow(job.id, false, true).await.map_err(|error| format!("{name}: {error}"))?;
    output::line(name)?;
    for line in engine.job_log(caller, job.id).await.map_err(sentence)? {
        output::line(&indented(&line.text))?;
    }
    Ok(())
}

fn indented(text: &str) -> String {
    text.trim_end().lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
