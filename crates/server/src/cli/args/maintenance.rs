//! Arguments of `trivault maintenance`.

use chrono::TimeDelta;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum MaintenanceCommand {
    /// Hold new jobs back on all nodes from now on; jobs that run go on.
    Start {
        /// How long: 90m, 2h, 1d ... Without, until `trivault maintenance stop`.
        #[arg(long = "for", value_name = "LENGTH", value_parser = length)]
        length: Option<TimeDelta>,
        /// What for; shown by jobs that wait.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Restores, and the backups that they make first, may begin.
        #[arg(long)]
        allow_restores: bool,
        #[arg(long)]
        json: bool,
    },
    /// Let jobs begin again. Ends a window of the configuration too, until the next one.
    Stop {
        #[arg(long)]
        json: bool,
    },
    /// Whether jobs are held back, until when, and how many wait.
    Status {
        #[arg(long)]
        json: bool,
    },
}

/// A number and a unit: s, m, h or d.
fn length(text: &str) -> Result<TimeDelta, String> {
    let fault = || format!("`{text}` is not a length of time; write a number and s, m, h or d, as 90m");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?;
    let (number, unit) = text.split_at(split);
    let number: i64 = number.parse().map_err(|_| fault())?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err(fault()),
    };
    number.checked_mul(seconds).and_then(TimeDelta::try_seconds).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("90m", 5400), ("2h", 7200), ("1d", 86400)] {
            assert_eq!(length(text).unwrap(), TimeDelta::seconds(seconds), "{text}");
        }
        for text in ["", "h", "2", "2 h", "-1h", "1.5h", "2w", "99999999999999999d"] {
            assert!(length(text).is_err(), "{text}");
        }
    }
}
