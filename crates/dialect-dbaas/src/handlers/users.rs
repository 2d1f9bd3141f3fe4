//! The caller's own user.

use actix_web::HttpResponse;
use trivault_engine::{ObjectKind, ObjectRef, User};

use super::ok;
use crate::{
    auth::{Call, MainCall},
    errors::Result,
    mapping, names,
    types::{Failure, Owner, UserAnswer},
};

/// The user that the bearer belongs to.
#[utoipa::path(get, path = "/v1/users/self", tag = "authentication", security(("bearer" = [])), responses(
    (status = 200, body = UserAnswer), (status = 401, body = Failure)))]
pub async fn own(MainCall(call): MainCall) -> Result<HttpResponse> {
    let (user, id) = with_id(&call).await?;
    Ok(ok(&UserAnswer { user: mapping::user(&user, id) }))
}

/// The caller's user and its id on this wire.
async fn with_id(call: &Call) -> Result<(User, String)> {
    let user = call.engine.user(&call.caller).await?;
    let id = call.engine.alias(names::USER, ObjectRef::new(ObjectKind::User, user.id.0)).await?;
    let id = id.unwrap_or_else(|| format!("us-{}", user.id));
    Ok((user, id))
}

/// The caller as the owner of an application.
pub async fn owner(call: &Call) -> Result<Owner> {
    let (user, id) = with_id(call).await?;
    Ok(Owner { id, username: user.name, email: String::new() })
}
