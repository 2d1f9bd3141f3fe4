//! `trivault vault` and `trivault key`.

use serde_json::json;
use trivault_engine::VaultId;

use super::{
    args::{Common, KeyCommand, ListArguments, VaultCommand},
    session::{Session, sentence},
};
use crate::output;

pub async fn run(common: &Common, command: VaultCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        VaultCommand::List(ListArguments { json }) => {
            let mut rows = Vec::new();
            for vault in engine.vaults(caller).await.map_err(sentence)? {
                let store = engine.store(caller, vault.store).await.map_err(sentence)?;
                let location = engine.vault_location(caller, vault.id).await.map_err(sentence)?;
                rows.push((vault.id, store.name, location, output::word(&vault.kind)));
            }
            if json {
                let objects: Vec<_> = rows
                    .iter()
                    .map(|(id, store, location, kind)| json!({"id": id, "store": store, "location": location, "kind": kind}))
                    .collect();
                return output::json(&objects);
            }
            let mut table = output::Table::new(&["ID", "STORE", "KIND", "LOCATION"]);
            for (id, store, location, kind) in rows {
                table.row(vec![id.to_string(), store, kind, location]);
            }
            table.print()
        }
        VaultCommand::ExportKey { id } => {
            let password = engine.export_vault_password(caller, VaultId(id)).await.map_err(sentence)?;
            output::line(password.expose())
        }
    }
}

pub async fn run_key(common: &Common, command: KeyCommand) -> Result<(), String> {
    let KeyCommand::Export = command;
    let session = Session::open(common).await?;
    let text = session.engine.export_key(&session.caller).await.map_err(sentence)?;
    output::line(text.expose())
}
