//! Which backups a merge request means.

use trivault_engine::{BackupId, MergeEnd, MergeRange, MergeWindow};

use crate::{errors::ApiError, types::MergeRequest};

/// `backups`: of the repository, with their names, oldest first. A name that no backup has goes on to the task, which then fails: that
/// is what the original does.
///
/// # Errors
/// 400 for negative offsets and for a range that ends before it begins.
pub fn range_from_wire(request: &MergeRequest, backups: &[(String, BackupId)]) -> Result<MergeRange, ApiError> {
    let MergeRequest { offset_start, offset_end, start, end } = request;
    if start.is_some() || end.is_some() {
        let from = start.as_deref().map_or(MergeEnd::Oldest, |name| named(name, backups));
        let to = end.as_deref().map_or(MergeEnd::Newest, |name| named(name, backups));
        let place = |end: &MergeEnd| match end {
            MergeEnd::Backup(id) => backups.iter().position(|(_, known)| known == id),
            MergeEnd::Oldest | MergeEnd::Newest | MergeEnd::Unknown(_) => None,
        };
        if let (Some(from), Some(to)) = (place(&from), place(&to))
            && from > to
        {
            return Err(ApiError::invalid_body("start is later than end"));
        }
        return Ok(MergeRange::Between { from, to });
    }
    if offset_start.is_none() && offset_end.is_none() {
        return Ok(MergeRange::EVERYTHING);
    }
    let days = |value: Option<i64>, name: &str| {
        u32::try_from(value.unwrap_or(0))
            .map_err(|_| ApiError::invalid_body(format!("{name} must be zero or more days")))
    };
    let (offset_start, offset_end) = (days(*offset_start, "offset_start")?, days(*offset_end, "offset_end")?);
    Ok(MergeRange::Days(MergeWindow { offset_start, offset_end }))
}

fn named(name: &str, backups: &[(String, BackupId)]) -> MergeEnd {
    let known = match name {
        "oldest" | "start" => backups.first(),
        "latest" | "end" => backups.last(),
        name => backups.iter().find(|(known, _)| known == name),
    };
    known.map_or_else(|| MergeEnd::Unknown(name.to_owned()), |(_, id)| MergeEnd::Backup(*id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn id(number: u128) -> BackupId {
        BackupId(uuid::Uuid::from_u128(number))
    }

    fn range(body: &str) -> Result<MergeRange, ApiError> {
        let backups: Vec<_> = (1..=3).map(|day| (format!("2020-09-0{day}T00_00_00Z"), id(day))).collect();
        range_from_wire(&json::read_or_empty(body.as_bytes())?, &backups)
    }

    fn between(from: MergeEnd, to: MergeEnd) -> MergeRange {
        MergeRange::Between { from, to }
    }

    #[test]
    fn the_manuals_window_the_clients_names_and_nothing_at_all_are_understood() {
        let window = MergeRange::Days(MergeWindow { offset_start: 0, offset_end: 2 });
        assert_eq!(range(r#"{"offset_start": 0,"offset_end": 2}"#).unwrap(), window);
        assert_eq!(range("").unwrap(), MergeRange::EVERYTHING);
        assert_eq!(range(r#"{"start":"","end":"","data_range":""}"#).unwrap(), MergeRange::EVERYTHING);
        let named = r#"{"start":"2020-09-01T00_00_00Z","end":"2020-09-02T00_00_00Z","data_range":"","offset_start":9}"#;
        assert_eq!(range(named).unwrap(), between(MergeEnd::Backup(id(1)), MergeEnd::Backup(id(2))));
        let words = between(MergeEnd::Backup(id(1)), MergeEnd::Backup(id(3)));
        assert_eq!(range(r#"{"start":"oldest","end":"latest"}"#).unwrap(), words);
        let unknown = between(MergeEnd::Unknown("x".to_owned()), MergeEnd::Newest);
        assert_eq!(range(r#"{"start":"x"}"#).unwrap(), unknown);
    }

    #[test]
    fn negative_offsets_and_ranges_that_end_before_they_begin_are_refused() {
        let backwards = r#"{"start":"2020-09-02T00_00_00Z","end":"2020-09-01T00_00_00Z"}"#;
        for body in [r#"{"offset_start":-1}"#, r#"{"offset_end":-1}"#, r#"{"offset_end":"1"}"#, "[]", "{{", backwards] {
            let ApiError::Other(body) = range(body).unwrap_err() else { panic!("{body}") };
            assert_eq!((body.status, body.msg.as_str()), (400, "invalid request body"));
        }
    }
}
