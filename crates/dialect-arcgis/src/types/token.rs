use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Answer of generateToken (section 2.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub token: String,
    /// Milliseconds since 1970, UTC.
    pub expires: i64,
    /// The token is to be used over HTTPS only.
    pub ssl: bool,
}
