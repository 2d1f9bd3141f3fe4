//! `trivault token`.

use chrono::TimeDelta;
use serde_json::json;
use trivault_engine::TokenId;

use super::{
    args::{Common, TokenCommand},
    session::{Session, sentence},
};
use crate::output;

/// Beginning of an API token by dialect; clients of the DBaaS dialect know it.
const PREFIXES: &[(&str, &str)] = &[("dbaas", "tk-us-")];

pub async fn run(common: &Common, command: TokenCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let engine = &session.engine;
    match command {
        TokenCommand::Create { name, dialect, user, expires_in, json } => {
            let prefix = prefix(&dialect)?;
            let caller = session.caller_as(&user).await?;
            let lifetime = expires_in.map(|days| TimeDelta::days(i64::from(days)));
            let (token, secret) =
                engine.create_api_token(&caller, &dialect, &name, prefix, lifetime).await.map_err(sentence)?;
            if json {
                return output::json(&json!({"token": secret.expose(), "id": token.id, "name": token.name}));
            }
            output::line(&format!("Token, shown once: {}", secret.expose()))
        }
        TokenCommand::List { dialect, json } => {
            prefix(&dialect)?;
            let tokens = engine.api_tokens(&session.caller, &dialect).await.map_err(sentence)?;
            if json {
                return output::json(&tokens);
            }
            let mut table = output::Table::new(&["ID", "NAME", "CREATED", "LAST USED", "EXPIRES"]);
            for token in tokens {
                table.row(vec![
                    token.id.to_string(),
                    token.name,
                    output::instant(Some(token.created_at)),
                    output::instant(token.last_used_at),
                    output::instant(token.expires_at),
                ]);
            }
            table.print()
        }
        TokenCommand::Revoke { id } => {
            engine.revoke_token(&session.caller, TokenId(id)).await.map_err(sentence)?;
            output::line(&format!("Revoked the token {id}."))
        }
    }
}

fn prefix(dialect: &str) -> Result<&'static str, String> {
    PREFIXES.iter().find(|(known, _)| *known == dialect).map(|(_, prefix)| *prefix).ok_or_else(|| {
        let known: Vec<&str> = PREFIXES.iter().map(|(known, _)| *known).collect();
        format!("The dialect `{dialect}` knows no API tokens. Known are: {}.", known.join(", "))
    })
}
