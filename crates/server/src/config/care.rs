//! What the server does by itself for its vaults: how often it prunes and verifies.

use std::time::Duration;

use trivault_engine::CareOptions;

use super::{file, resolve::within};

const HOUR: u64 = 3600;
/// A year: what is rarer is better switched off.
const MOST_HOURS: u64 = 24 * 366;

/// # Errors
/// A sentence that names the key and its range.
pub fn options(care: &file::Care) -> Result<CareOptions, String> {
    let file::Care {
        prune_hours,
        keep_marked_hours,
        tolerated_unused_percent,
        repack_gib,
        structure_hours,
        data_hours,
        data_shares,
        restore_hours,
    } = care;
    let defaults = CareOptions::default();
    let rhythm = |key: &str, hours: Option<u64>, default| match hours {
        None => Ok(default),
        Some(0) => Ok(None),
        Some(hours) => within(key, hours, 1, MOST_HOURS).map(|hours| Some(Duration::from_secs(hours * HOUR))),
    };
    let keep_marked = match keep_marked_hours {
        None => defaults.keep_marked,
        Some(hours) => Duration::from_secs(within("care.keep_marked_hours", *hours, 1, MOST_HOURS)? * HOUR),
    };
    let tolerated_unused = match tolerated_unused_percent {
        None => defaults.tolerated_unused,
        Some(percent) => f64::from(within("care.tolerated_unused_percent", *percent, 0, 100)?) / 100.0,
    };
    let max_repack_bytes = match repack_gib {
        None => defaults.max_repack_bytes,
        Some(gib) => Some(within("care.repack_gib", *gib, 1, 1 << 20)? << 30),
    };
    Ok(CareOptions {
        prune_every: rhythm("care.prune_hours", *prune_hours, defaults.prune_every)?,
        keep_marked,
        tolerated_unused,
        max_repack_bytes,
        structure_every: rhythm("care.structure_hours", *structure_hours, defaults.structure_every)?,
        data_every: rhythm("care.data_hours", *data_hours, defaults.data_every)?,
        data_shares: within("care.data_shares", data_shares.unwrap_or(defaults.data_shares), 1, 256)?,
        restore_every: rhythm("care.restore_hours", *restore_hours, defaults.restore_every)?,
    })
}

/// For a person: `every 24 hours`.
pub fn described(every: Option<Duration>) -> String {
    every.map_or_else(|| "off".to_owned(), |every| format!("every {} hours", every.as_secs() / HOUR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_switches_a_rhythm_off_and_nothing_leaves_the_default() {
        let defaults = options(&file::Care::default()).unwrap();
        assert_eq!(defaults, CareOptions::default());
        let care = file::Care { data_hours: Some(0), restore_hours: Some(48), ..file::Care::default() };
        let some = options(&care).unwrap();
        assert_eq!((some.data_every, some.restore_every), (None, Some(Duration::from_secs(48 * 3600))));
        let wrong = options(&file::Care { data_shares: Some(257), ..file::Care::default() }).unwrap_err();
        assert!(wrong.contains("care.data_shares is 257"), "{wrong}");
        assert_eq!(described(some.data_every), "off");
        assert_eq!(described(some.restore_every), "every 48 hours");
    }
}
