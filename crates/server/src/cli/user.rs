//! `trivault user`.

use std::path::Path;

use trivault_engine::{Role, SecretText};

use super::{
    args::{Common, ListArguments, RoleName, UserCommand},
    session::{Session, sentence},
};
use crate::{config::secret, output};

const PASSWORD_VARIABLE: &str = "TRIVAULT_USER_PASSWORD";

pub async fn run(common: &Common, command: UserCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    match command {
        UserCommand::Add { name, role, password_file, json } => {
            let (password, made) = password(password_file.as_deref())?;
            let user =
                session.engine.create_user(&session.caller, &name, &password, role_of(role)).await.map_err(sentence)?;
            if json {
                output::json(&user)?;
            } else {
                output::line(&format!("Added the user {}.", user.name))?;
            }
            show_once(&password, made)
        }
        UserCommand::List(ListArguments { json }) => {
            let users = session.engine.users(&session.caller).await.map_err(sentence)?;
            if json {
                return output::json(&users);
            }
            let mut table = output::Table::new(&["NAME", "ROLE", "SINCE"]);
            for user in users {
                table.row(vec![user.name, output::word(&user.role), output::instant(Some(user.created_at))]);
            }
            table.print()
        }
        UserCommand::Password { name, password_file } => {
            let (password, made) = password(password_file.as_deref())?;
            session.engine.set_password(&session.caller, &name, &password).await.map_err(sentence)?;
            output::line(&format!("Changed the password of {name}."))?;
            show_once(&password, made)
        }
    }
}

fn role_of(name: RoleName) -> Role {
    match name {
        RoleName::Reader => Role::Reader,
        RoleName::Operator => Role::Operator,
        RoleName::Admin => Role::Admin,
    }
}

/// The password, and whether it was made here.
fn password(file: Option<&Path>) -> Result<(SecretText, bool), String> {
    if let Some(path) = file {
        return Ok((secret::from_file(path)?, false));
    }
    match secret::from_environment(PASSWORD_VARIABLE) {
        Ok(password) => Ok((password, false)),
        Err(_) => Ok((secret::generate()?, true)),
    }
}

fn show_once(password: &SecretText, made: bool) -> Result<(), String> {
    if made { output::line(&format!("Password, shown once: {}", password.expose())) } else { Ok(()) }
}
