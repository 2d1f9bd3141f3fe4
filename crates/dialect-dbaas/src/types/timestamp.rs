//! Dates: UTC, exactly three decimals and a `Z`, because scripts sort them as strings.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-11-20T01:00:04.312Z")]
pub struct Timestamp(pub DateTime<Utc>);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl From<DateTime<Utc>> for Timestamp {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_always_has_three_decimals_and_a_z() {
        for (nanoseconds, text) in [
            (312_000_000, "2026-11-20T01:00:04.312Z"),
            (0, "2026-11-20T01:00:04.000Z"),
            (999_999_999, "2026-11-20T01:00:04.999Z"),
            (1_000, "2026-11-20T01:00:04.000Z"),
        ] {
            let at = DateTime::from_timestamp(1_795_136_404, nanoseconds).unwrap();
            assert_eq!(serde_json::to_value(Timestamp(at)).unwrap(), text);
        }
    }
}
