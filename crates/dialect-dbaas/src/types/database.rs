//! A database and the change of its settings.

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Timestamp, Unprocessable};

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct DatabaseAnswer {
    pub database: Database,
}

#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Database {
    /// 24 hexadecimal digits; equals `database_id` of its backups.
    pub id: String,
    pub resource_id: String,
    pub app_name: String,
    pub created_at: Timestamp,
    pub encryption_at_rest: bool,
    pub plan: String,
    /// `running`, or `stopped` when the source is detached.
    pub status: String,
    pub type_id: String,
    /// The engine's word.
    pub type_name: String,
    pub version_id: String,
    /// Of the newest backup; empty before the first.
    pub readable_version: String,
    #[schema(required)]
    pub next_version_id: Option<String>,
    pub hostname: String,
    pub mongo_repl_set_name: String,
    pub cluster: bool,
    /// Always empty: the gateway does not run the database.
    pub instances: Vec<Instance>,
    pub features: Vec<Feature>,
    pub flags: Vec<String>,
    #[schema(required)]
    pub current_operation_id: Option<String>,
    pub periodic_backups_enabled: bool,
    /// Hours of the day, UTC, ascending. Always an array.
    pub periodic_backups_scheduled_at: Vec<u8>,
    #[schema(required)]
    pub first_pitr_backup: Option<String>,
    /// Null until it was set.
    #[schema(required)]
    pub maintenance_window: Option<MaintenanceWindow>,
}

/// Clients want objects here, never strings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Feature {
    pub name: String,
    pub status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Instance {
    pub id: String,
    pub hostname: String,
    pub port: u16,
    pub status: String,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct MaintenanceWindow {
    /// 0 (Sunday) to 6
    #[schema(maximum = 6)]
    pub weekday_utc: u8,
    /// 0 to 23
    #[schema(maximum = 23)]
    pub starting_hour_utc: u8,
    /// Read-only.
    pub duration_in_hour: u8,
}

impl MaintenanceWindow {
    /// The window's length, which the wire cannot change.
    pub const DURATION_IN_HOUR: u8 = 8;

    pub fn new(weekday_utc: u8, starting_hour_utc: u8) -> Self {
        Self { weekday_utc, starting_hour_utc, duration_in_hour: Self::DURATION_IN_HOUR }
    }
}

/// Body of `PATCH` and `PUT /api/databases/:db`, for the document only: it is read by [`DatabaseChange::parse`].
#[derive(ToSchema)]
#[allow(dead_code)]
pub struct DatabaseChangeBody {
    database: DatabaseChangeFields,
}

#[derive(ToSchema)]
#[allow(dead_code)]
struct DatabaseChangeFields {
    periodic_backups_enabled: Option<bool>,
    periodic_backups_scheduled_at: Option<HourOrHours>,
    maintenance_window: Option<MaintenanceWindowChange>,
}

/// Go and curl send one hour, JavaScript an array.
#[derive(ToSchema)]
#[serde(untagged)]
#[allow(dead_code)]
enum HourOrHours {
    Hour(u8),
    Hours(Vec<u8>),
}

#[derive(ToSchema)]
#[allow(dead_code)]
struct MaintenanceWindowChange {
    weekday_utc: Option<u8>,
    starting_hour_utc: Option<u8>,
}

/// What a client wants changed; absent is unchanged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseChange {
    pub periodic_backups_enabled: Option<bool>,
    /// Ascending, distinct, not empty.
    pub hours: Option<Vec<u8>>,
    pub weekday_utc: Option<u8>,
    pub starting_hour_utc: Option<u8>,
}

const ENABLED: &str = "periodic_backups_enabled";
const SCHEDULED_AT: &str = "periodic_backups_scheduled_at";
const WINDOW: &str = "maintenance_window";

impl DatabaseChange {
    /// Reads the body. The root key may be left out; unknown keys are ignored; null and an empty list of hours mean
    /// "unchanged", so that a client may send back what it has read.
    ///
    /// # Errors
    /// All that is wrong, by field.
    pub fn parse(body: &Map<String, Value>) -> Result<Self, Unprocessable> {
        let mut errors = Unprocessable { errors: std::collections::BTreeMap::new() };
        let mut refuse = |field: &str, sentence: &str| {
            errors.errors.entry(field.to_owned()).or_default().push(sentence.to_owned());
        };
        let none = Map::new();
        let fields = match body.get("database") {
            None => body,
            Some(Value::Object(fields)) => fields,
            Some(_) => {
                refuse("database", "must be an object");
                &none
            }
        };
        let mut change = Self::default();
        match fields.get(ENABLED) {
            None | Some(Value::Null) => {}
            Some(Value::Bool(enabled)) => change.periodic_backups_enabled = Some(*enabled),
            Some(_) => refuse(ENABLED, "must be true or false"),
        }
        match hours(fields.get(SCHEDULED_AT)) {
            Ok(hours) => change.hours = hours,
            Err(sentence) => refuse(SCHEDULED_AT, sentence),
        }
        match fields.get(WINDOW) {
            None | Some(Value::Null) => {}
            Some(Value::Object(window)) => {
                match whole(window.get("weekday_utc"), 6) {
                    Ok(weekday) => change.weekday_utc = weekday,
                    Err(()) => refuse(WINDOW, "weekday_utc must be between 0 (Sunday) and 6"),
                }
                match whole(window.get("starting_hour_utc"), 23) {
                    Ok(hour) => change.starting_hour_utc = hour,
                    Err(()) => refuse(WINDOW, "starting_hour_utc must be between 0 and 23"),
                }
            }
            Some(_) => refuse(WINDOW, "must be an object"),
        }
        if errors.errors.is_empty() { Ok(change) } else { Err(errors) }
    }
}

/// One hour or an array of hours.
fn hours(value: Option<&Value>) -> Result<Option<Vec<u8>>, &'static str> {
    const SENTENCE: &str = "must be between 0 and 23";
    let mut hours = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Array(hours)) => hours.iter().map(hour).collect::<Option<Vec<_>>>().ok_or(SENTENCE)?,
        Some(one) => vec![hour(one).ok_or(SENTENCE)?],
    };
    hours.sort_unstable();
    hours.dedup();
    Ok(Some(hours).filter(|hours| !hours.is_empty()))
}

fn hour(value: &Value) -> Option<u8> {
    value.as_u64().filter(|hour| *hour <= 23).and_then(|hour| u8::try_from(hour).ok())
}

/// `Ok(None)` when absent; an error when it is no whole number of `0..=most`.
fn whole(value: Option<&Value>, most: u64) -> Result<Option<u8>, ()> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let number = value.as_u64().filter(|number| *number <= most).ok_or(())?;
            u8::try_from(number).map(Some).map_err(|_| ())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(body: &Value) -> Result<DatabaseChange, Unprocessable> {
        DatabaseChange::parse(body.as_object().unwrap())
    }

    #[test]
    fn hours_are_taken_as_a_number_or_an_array_and_come_out_sorted_and_distinct() {
        for (sent, hours) in [
            (json!(3), Some(vec![3])),
            (json!(0), Some(vec![0])),
            (json!(23), Some(vec![23])),
            (json!([3]), Some(vec![3])),
            (json!([13, 1, 13, 0]), Some(vec![0, 1, 13])),
            (json!([]), None),
            (json!(null), None),
        ] {
            let change = parse(&json!({"database": {"periodic_backups_scheduled_at": sent}})).unwrap();
            assert_eq!(change, DatabaseChange { hours, ..DatabaseChange::default() }, "{sent}");
        }
    }

    #[test]
    fn hours_outside_the_day_and_of_other_types_are_refused() {
        for sent in
            [json!(24), json!(-1), json!(1.5), json!("3"), json!([3, 24]), json!([["3"]]), json!(true), json!({})]
        {
            let errors = parse(&json!({"database": {"periodic_backups_scheduled_at": sent}})).unwrap_err();
            assert_eq!(
                serde_json::to_value(errors).unwrap(),
                json!({"errors": {"periodic_backups_scheduled_at": ["must be between 0 and 23"]}}),
                "{sent}"
            );
        }
    }

    #[test]
    fn a_maintenance_window_may_be_partial() {
        let change = parse(&json!({"database": {"maintenance_window": {"weekday_utc": 2}}})).unwrap();
        assert_eq!(change, DatabaseChange { weekday_utc: Some(2), ..DatabaseChange::default() });
        let change = parse(&json!({"database": {"maintenance_window":
            {"weekday_utc": 6, "starting_hour_utc": 22, "duration_in_hour": 99}}}))
        .unwrap();
        assert_eq!((change.weekday_utc, change.starting_hour_utc), (Some(6), Some(22)));
    }

    #[test]
    fn everything_that_is_wrong_is_named_at_once() {
        let errors =
            parse(&json!({"database": {"periodic_backups_enabled": "yes", "periodic_backups_scheduled_at": 25,
            "maintenance_window": {"weekday_utc": 7, "starting_hour_utc": 24}}}))
            .unwrap_err();
        let fields: Vec<_> = errors.errors.iter().map(|(field, sentences)| (field.as_str(), sentences.len())).collect();
        assert_eq!(fields, [(WINDOW, 2), (ENABLED, 1), (SCHEDULED_AT, 1)]);
    }

    #[test]
    fn nothing_and_unknown_keys_change_nothing() {
        for body in [json!({}), json!({"database": {}}), json!({"database": {"plan": "big"}}), json!({"x": 1})] {
            assert_eq!(parse(&body).unwrap(), DatabaseChange::default(), "{body}");
        }
        assert!(parse(&json!({"database": 5})).is_err());
        assert!(parse(&json!({"database": null})).is_err());
    }

    #[test]
    fn the_root_key_may_be_left_out() {
        let change = parse(&json!({"periodic_backups_enabled": false})).unwrap();
        assert_eq!(change.periodic_backups_enabled, Some(false));
    }
}
