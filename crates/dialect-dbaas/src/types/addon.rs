//! The platform API: a source seen as an application with exactly one addon.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

use super::Timestamp;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppList {
    pub apps: Vec<App>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppAnswer {
    pub app: App,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct App {
    pub id: String,
    pub name: String,
    pub region: String,
    /// `running`, or `stopped` when the source is detached.
    pub status: String,
    pub owner: Owner,
    pub project: Project,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub flags: BTreeMap<String, bool>,
    pub limits: BTreeMap<String, u64>,
    pub git_url: String,
    pub url: String,
    pub base_url: String,
    pub links: BTreeMap<String, String>,
    #[schema(required)]
    pub last_deployed_at: Option<Timestamp>,
    pub stack_id: String,
    pub force_https: bool,
    pub sticky_session: bool,
    pub router_logs: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Owner {
    pub id: String,
    pub username: String,
    pub email: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Project {
    pub id: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AddonList {
    pub addons: Vec<Addon>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AddonAnswer {
    pub addon: Addon,
}

/// Clients crash without `plan` and `addon_provider`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Addon {
    /// Begins with `ad-`.
    pub id: String,
    pub app_id: String,
    pub resource_id: String,
    /// `running`, or `suspended` when the source is detached.
    pub status: String,
    pub provisioned_at: Timestamp,
    #[schema(required)]
    pub deprovisioned_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub plan: AddonPlan,
    pub addon_provider: AddonProvider,
    pub hds_resource: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AddonPlan {
    pub id: String,
    /// Begins with the engine's word.
    pub name: String,
    pub display_name: String,
    pub price: u64,
    pub description: String,
    pub position: u32,
    pub on_demand: bool,
    pub disabled: bool,
    #[schema(required)]
    pub disabled_alternative_plan_id: Option<String>,
    pub sku: String,
    pub hds_available: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AddonProvider {
    /// The engine's word: `postgresql`, `sqlite` ...
    pub id: String,
    /// What `--addon` is compared with, ignoring case.
    pub name: String,
    pub logo_url: String,
}

#[derive(Serialize, ToSchema)]
pub struct AddonTokenAnswer {
    pub addon: AddonWithToken,
}

/// The addon, and beside its fields the token for its database.
#[derive(Serialize, ToSchema)]
pub struct AddonWithToken {
    #[serde(flatten)]
    pub addon: Addon,
    /// A JWT, good for this database for one hour.
    pub token: String,
}
