//! One-off merges and prunes.

use serde_json::Value;
use utoipa::ToSchema;

use crate::json::{Fields, FromJson, Mismatch};

/// `POST .../merge`: a window of days, or the names of the first and last backup; where both are given, the names. Without any, all.
#[derive(Clone, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(example = json!({"offset_start": 0, "offset_end": 2}))]
pub struct MergeRequest {
    /// Days before today: the newest day of the window.
    #[schema(minimum = 0)]
    pub offset_start: Option<i64>,
    /// Days before that day: the oldest.
    #[schema(minimum = 0)]
    pub offset_end: Option<i64>,
    /// A backup's name, or `oldest`.
    pub start: Option<String>,
    /// A backup's name, or `latest`.
    pub end: Option<String>,
}

impl FromJson for MergeRequest {
    fn from_json(value: &Value) -> Result<Self, Mismatch> {
        let fields = Fields::of(value)?;
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            offset_start: fields.integer("offset_start")?,
            offset_end: fields.integer("offset_end")?,
            start: given(fields.text("start")?),
            end: given(fields.text("end")?),
        })
    }
}

/// `POST .../prune`. The manual's example sends `full_backup`, which has no meaning here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
pub struct PruneRequest {
    pub full_backup: Option<bool>,
}

impl FromJson for PruneRequest {
    fn from_json(value: &Value) -> Result<Self, Mismatch> {
        Ok(Self { full_backup: Fields::of(value)?.flag("full_backup")? })
    }
}
