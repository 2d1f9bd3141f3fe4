//! Error bodies (section 2.6 of the dialect's description). Every one is JSON.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// 400, 401, 403, 405, 409, 413, 429, 5xx.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Failure {
    /// A sentence for a person.
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// 402
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct PaymentRequired {
    pub error: String,
    pub url: String,
}

/// 404
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Missing {
    /// Left out for an application where the client would read a region out of the host's name and fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    pub error: String,
}

/// 422: sentences by field; never empty, always arrays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Unprocessable {
    pub errors: BTreeMap<String, Vec<String>>,
}
