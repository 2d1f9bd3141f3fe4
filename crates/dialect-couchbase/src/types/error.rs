//! Error bodies.

use serde::Serialize;
use utoipa::ToSchema;

/// The body of every error but 401 (empty) and 403.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The HTTP status again.
    pub status: u16,
    /// Short text.
    pub msg: String,
    /// The cause in more words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub extras: Option<String>,
}

/// The body of 403; older clients fail without both members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ForbiddenBody {
    pub message: String,
    pub permissions: Vec<String>,
}
