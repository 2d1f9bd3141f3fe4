//! Restores.

use serde_json::Value;
use trivault_http::Secret;
use utoipa::ToSchema;

use crate::json::{Fields, FromJson, Mismatch};

/// `POST .../restore`. Unknown members are ignored.
#[derive(Clone, Debug, ToSchema)]
pub struct RestoreRequest {
    /// This gateway: `http://127.0.0.1:8091`, `host:8091` ...
    #[schema(required)]
    pub target: Option<String>,
    #[schema(required)]
    pub user: Option<String>,
    /// Checked against the target, never kept.
    #[schema(required, value_type = Option<String>)]
    pub password: Option<Secret>,
    /// Oldest backup, inclusive; the first when absent.
    pub start: Option<String>,
    /// Newest backup, inclusive; the last when absent.
    pub end: Option<String>,
    /// Regular expression, unanchored.
    pub filter_keys: Option<String>,
    pub filter_values: Option<String>,
    /// `old=new`, comma-separated.
    pub map_data: Option<String>,
    /// `bucket[.scope[.collection]]`, comma-separated; not together with `exclude_data`.
    pub include_data: Option<String>,
    pub exclude_data: Option<String>,
    pub auto_create_buckets: Option<bool>,
    pub auto_remove_collections: Option<bool>,
    pub enable_bucket_config: Option<bool>,
    /// Overwrite what differs; otherwise only what is missing is added.
    pub force_updates: Option<bool>,
    /// `none`, `all` or `expired`; no data here expires.
    pub replace_ttl: Option<String>,
    /// With `all`.
    pub replace_ttl_with: Option<String>,
    pub disable_data: Option<bool>,
    pub disable_views: Option<bool>,
    pub disable_gsi_indexes: Option<bool>,
    pub disable_ft: Option<bool>,
    pub disable_eventing: Option<bool>,
    pub disable_analytics: Option<bool>,
}

impl FromJson for RestoreRequest {
    fn from_json(value: &Value) -> Result<Self, Mismatch> {
        let fields = Fields::of(value)?;
        Ok(Self {
            target: fields.text("target")?,
            user: fields.text("user")?,
            password: fields.text("password")?.map(Secret::new),
            start: fields.text("start")?,
            end: fields.text("end")?,
            filter_keys: fields.text("filter_keys")?,
            filter_values: fields.text("filter_values")?,
            map_data: fields.text("map_data")?,
            include_data: fields.text("include_data")?,
            exclude_data: fields.text("exclude_data")?,
            auto_create_buckets: fields.flag("auto_create_buckets")?,
            auto_remove_collections: fields.flag("auto_remove_collections")?,
            enable_bucket_config: fields.flag("enable_bucket_config")?,
            force_updates: fields.flag("force_updates")?,
            replace_ttl: fields.text("replace_ttl")?,
            replace_ttl_with: fields.text("replace_ttl_with")?,
            disable_data: fields.flag("disable_data")?,
            disable_views: fields.flag("disable_views")?,
            disable_gsi_indexes: fields.flag("disable_gsi_indexes")?,
            disable_ft: fields.flag("disable_ft")?,
            disable_eventing: fields.flag("disable_eventing")?,
            disable_analytics: fields.flag("disable_analytics")?,
        })
    }
}
