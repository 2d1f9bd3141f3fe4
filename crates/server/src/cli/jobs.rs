//! `trivault jobs`.

use trivault_engine::{JobFilter, JobId};

use super::{
    args::{Common, JobsCommand},
    session::{Session, sentence, with_hint},
};
use crate::output;

pub async fn run(common: &Common, command: JobsCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        JobsCommand::List { limit, json } => {
            let filter = JobFilter { limit: Some(limit), ..JobFilter::default() };
            let jobs = engine.jobs(caller, filter).await.map_err(sentence)?;
            if json {
                return output::json(&jobs);
            }
            let mut table = output::Table::new(&["ID", "KIND", "STATE", "%", "CREATED", "BY", "VIA"]);
            for job in jobs {
                table.row(vec![
                    job.id.to_string(),
                    output::word(&job.kind),
                    output::word(&job.state),
                    job.percent.to_string(),
                    output::instant(Some(job.created_at)),
                    job.principal,
                    job.via,
                ]);
            }
            table.print()
        }
        JobsCommand::Show { id, json } => {
            let job = engine.job(caller, JobId(id)).await.map_err(sentence)?;
            let waiting = engine.why_waiting(caller, JobId(id)).await.map_err(sentence)?;
            let waiting = waiting.map(|waiting| waiting.sentence());
            if json {
                let mut shown =
                    serde_json::to_value(&job).map_err(|error| format!("The job cannot be shown: {error}."))?;
                shown["waiting"] = serde_json::json!(waiting);
                return output::json(&shown);
            }
            output::line(&format!(
                "{} {}  attempt {}  {} %",
                output::word(&job.kind),
                output::word(&job.state),
                job.attempt,
                job.percent
            ))?;
            if let Some(waiting) = waiting {
                output::line(&format!("Waits: {waiting}"))?;
            }
            let mut table = output::Table::new(&["STEP", "STATE", "STARTED", "FINISHED"]);
            for step in job.steps {
                let (started, finished) = (output::instant(step.started_at), output::instant(step.finished_at));
                table.row(vec![step.name, output::word(&step.state), started, finished]);
            }
            table.print()?;
            for warning in &job.warnings {
                output::line(&format!("Warning: {}", warning.sentence))?;
            }
            match &job.failure {
                Some(failure) => {
                    output::line(&format!("Failed: {}", with_hint(&failure.sentence, failure.hint.as_deref())))
                }
                None => Ok(()),
            }
        }
        JobsCommand::Log { id, json } => {
            let lines = engine.job_log(caller, JobId(id)).await.map_err(sentence)?;
            if json {
                return output::json(&lines);
            }
            for line in lines {
                output::line(&format!("{}  {}", output::instant(Some(line.at)), line.text))?;
            }
            Ok(())
        }
        JobsCommand::Cancel { id } => {
            let job = engine.cancel_job(caller, JobId(id)).await.map_err(sentence)?;
            let state = output::word(&job.state);
            output::line(&match job.state.is_terminal() {
                true => format!("The job has ended already: {state}."),
                false => format!("The job is {state}; it was asked to stop."),
            })
        }
    }
}
