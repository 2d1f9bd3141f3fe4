//! The query of the task history.

use trivault_engine::{Alias, JobFilter, JobKind, JobState, RepositoryId};

use super::time;
use crate::{errors::ApiError, names::TASKS};

/// Kinds that this wire has words for.
pub const KINDS: [JobKind; 4] = [JobKind::Backup, JobKind::Restore, JobKind::Merge, JobKind::Prune];

/// What is in the history and not among the running tasks.
const ENDED: [JobState; 4] = [JobState::Succeeded, JobState::Failed, JobState::Cancelled, JobState::Skipped];

/// Reads `first`, `limit`, `offset` and `taskName`. The last of a repeated parameter counts.
///
/// # Errors
/// 400 `Invalid parameter`, `extras` naming it.
pub fn filter(repository: RepositoryId, query: &str) -> Result<JobFilter, ApiError> {
    let mut filter = JobFilter {
        repository: Some(repository),
        store: None,
        backup: None,
        kinds: KINDS.to_vec(),
        states: ENDED.to_vec(),
        started_from: None,
        name: None,
        limit: None,
        offset: 0,
    };
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "first" => {
                let at = time::parse(&value).ok_or_else(|| invalid("first", "must be an RFC 3339 time"))?;
                filter.started_from = Some(at);
            }
            // Zero is no limit.
            "limit" => filter.limit = Some(number("limit", &value)?).filter(|limit| *limit > 0),
            "offset" => filter.offset = number("offset", &value)?,
            "taskName" | "task_name" => filter.name = Some(Alias::new(TASKS, task_name(&value))),
            _ => {}
        }
    }
    Ok(filter)
}

/// A page of a list: how many to skip, and how many to show at most.
///
/// # Errors
/// As [`filter`].
pub fn page(query: &str) -> Result<(usize, Option<usize>), ApiError> {
    let (mut offset, mut limit) = (0, None);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "limit" => limit = Some(number("limit", &value)? as usize).filter(|limit| *limit > 0),
            "offset" => offset = number("offset", &value)? as usize,
            _ => {}
        }
    }
    Ok((offset, limit))
}

fn number(name: &str, value: &str) -> Result<u32, ApiError> {
    value.parse().map_err(|_| invalid(name, "must be a whole number that is not negative"))
}

fn invalid(name: &str, rule: &str) -> ApiError {
    ApiError::bad_request("Invalid parameter").extras(format!("{name} {rule}"))
}

/// Names of one-off tasks are the same in any case; names of plans' tasks are taken as they are.
fn task_name(text: &str) -> String {
    let one_off = |prefix: &str| {
        let (head, id) = text.split_at_checked(prefix.len())?;
        let is_id = id.len() == 36 && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
        (head.eq_ignore_ascii_case(prefix) && is_id).then(|| format!("{prefix}{}", id.to_ascii_lowercase()))
    };
    crate::names::PREFIXES.into_iter().find_map(one_off).unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<JobFilter, ApiError> {
        filter(RepositoryId(uuid::Uuid::nil()), query)
    }

    #[test]
    fn the_filters_are_read_with_their_aliases_and_an_unencoded_plus() {
        let filter =
            read("first=2020-09-29T13:10:58.100371+01:00&limit=2&offset=1&taskName=fifteenMinuteBackup").unwrap();
        assert_eq!(filter.started_from, Some("2020-09-29T12:10:58.100371Z".parse().unwrap()));
        assert_eq!((filter.limit, filter.offset), (Some(2), 1));
        assert_eq!(filter.name, Some(Alias::new(TASKS, "fifteenMinuteBackup")));
        assert_eq!(read("limit=0").unwrap().limit, None);
        let name = read("task_name=RESTORE-F97CE4B9-AC43-4726-BC1F-B5C92B19CE00").unwrap().name.unwrap().name;
        assert_eq!(name, "restore-f97ce4b9-ac43-4726-bc1f-b5c92b19ce00");
        assert_eq!(read("").unwrap().name, None);
        assert_eq!(read("unknown=x").unwrap().limit, None);
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_named() {
        for query in ["limit=abc", "limit=-1", "first=yesterday", "first=", "offset=-1", "offset=1.0", "limit="] {
            let ApiError::Other(body) = read(query).unwrap_err() else { panic!("{query}") };
            assert_eq!((body.status, body.msg.as_str()), (400, "Invalid parameter"), "{query}");
            assert!(body.extras.unwrap().starts_with(query.split('=').next().unwrap()));
        }
    }
}
