//! `trivault maintenance`.

use chrono::{DateTime, Utc};
use serde_json::json;
use trivault_engine::{Hold, Maintenance, MaintenanceWindow, StartMaintenance};

use super::{
    args::{Common, MaintenanceCommand},
    session::{Session, sentence},
};
use crate::output;

pub async fn run(common: &Common, command: MaintenanceCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        MaintenanceCommand::Start { length, reason, allow_restores, json } => {
            let start = StartMaintenance { length, reason, restores_run: allow_restores };
            let hold = engine.start_maintenance(caller, start).await.map_err(sentence)?;
            if json {
                return output::json(&hold);
            }
            output::line(&hold.sentence())?;
            output::line(restores(&hold))
        }
        MaintenanceCommand::Stop { json } => {
            let held = engine.stop_maintenance(caller).await.map_err(sentence)?;
            if json {
                return output::json(&json!({"was_on": held}));
            }
            output::line(if held { "Maintenance is over; jobs begin again." } else { "There was no maintenance." })
        }
        MaintenanceCommand::Status { json } => {
            let (maintenance, hold) = engine.maintenance(caller).await.map_err(sentence)?;
            let queued = engine.queue_length(caller).await.map_err(sentence)?;
            let next = maintenance.next_window(engine.now());
            if json {
                return output::json(&json!({
                    "on": hold.is_some(), "hold": hold, "queued_jobs": queued, "next_window": next,
                    "windows": maintenance.windows, "windows_hold_restores": maintenance.windows_hold_restores,
                }));
            }
            print(&maintenance, hold.as_ref(), queued, next)
        }
    }
}

fn print(
    maintenance: &Maintenance,
    hold: Option<&Hold>,
    queued: usize,
    next: Option<DateTime<Utc>>,
) -> Result<(), String> {
    match hold {
        Some(hold) => {
            output::line(&hold.sentence())?;
            output::line(restores(hold))?;
        }
        None => output::line("No maintenance: jobs begin as they come.")?,
    }
    output::line(&format!("Queued jobs: {queued}."))?;
    for window in &maintenance.windows {
        output::line(&format!("Window of the configuration: {}", described(window)))?;
    }
    match next {
        Some(next) => output::line(&format!("The next one begins {}.", output::instant(Some(next)))),
        None => Ok(()),
    }
}

/// Days, hours and zone.
pub fn described(window: &MaintenanceWindow) -> String {
    let MaintenanceWindow { days, from, to, zone } = window;
    let days: Vec<String> = days.iter().map(ToString::to_string).collect();
    let days = if days.is_empty() { "every day".to_owned() } else { days.join(", ") };
    format!("{days} {:02}:{:02} to {:02}:{:02} {zone}", from.hour, from.minute, to.hour, to.minute)
}

fn restores(hold: &Hold) -> &'static str {
    if hold.restores_run { "Restores may begin." } else { "Restores wait too." }
}
