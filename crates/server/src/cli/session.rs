//! What every command that works beside a server needs: the opened engine, and who is acting.

use std::time::Duration;

use trivault_engine::{Caller, Engine, Job, JobId, JobState, Principal, Role, Scope, User, UserId, Waiting};

use super::args::{Common, ServeArguments};
use crate::{config, output, wiring};

/// How often a followed job is looked at.
const FOLLOW_EVERY: Duration = Duration::from_millis(500);

pub struct Session {
    pub engine: Engine,
    pub caller: Caller,
    configuration: config::resolve::Configuration,
}

impl Session {
    /// Opens the metadata database that a server may be using at the same time; starts no workers.
    ///
    /// # Errors
    /// A sentence: wrong configuration, another owner of the data directory, a schema newer than this binary ...
    pub async fn open(common: &Common) -> Result<Self, String> {
        let configuration = config::resolve::resolve(common, &ServeArguments::default())?;
        let filter = configuration.log_filter.as_deref();
        crate::logging::start(filter, configuration.log_format, "warn")?;
        let engine = wiring::open_engine(&configuration, false).await?;
        Ok(Self { engine, caller: local_caller(), configuration })
    }

    /// Attaches the stores that a server would have attached at its start, for commands that come before the first one.
    ///
    /// # Errors
    /// As [`crate::serve::prepare_stores`].
    pub async fn prepare_stores(&self) -> Result<(), String> {
        crate::serve::prepare_stores(&self.engine, &self.caller, &self.configuration).await
    }

    /// The caller with another user's identity, for things that belong to that user (tokens).
    ///
    /// # Errors
    /// A sentence when there is no such user.
    pub async fn caller_as(&self, name: &str) -> Result<Caller, String> {
        let users = self.engine.users(&self.caller).await.map_err(sentence)?;
        let Some(User { id, name, role, .. }) = users.iter().find(|user| user.name == name) else {
            let known: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
            return Err(format!("There is no user {name}. Known are: {}.", known.join(", ")));
        };
        let principal = Principal { user: *id, name: name.clone(), role: *role, scope: Scope::Everything, token: None };
        Ok(Caller { principal, ..self.caller.clone() })
    }

    /// Follows a job to its end. A live server runs it; this process does where there is none, or where only this process
    /// knows the passcode (`here`).
    ///
    /// # Errors
    /// The failure's sentence and hint.
    pub async fn follow(&self, id: JobId, here: bool, quiet: bool) -> Result<Job, String> {
        let job = if here || self.engine.live_server().map_err(sentence)?.is_none() {
            let begun = self.engine.run_until_done(id);
            tokio::pin!(begun);
            let mut told = None;
            loop {
                tokio::select! {
                    ended = &mut begun => break ended.map_err(sentence)?,
                    () = tokio::time::sleep(FOLLOW_EVERY), if !quiet => self.say_why_waiting(id, &mut told).await?,
                }
            }
        } else {
            self.watch(id, quiet).await?
        };
        match (job.state, &job.failure) {
            (JobState::Succeeded, _) => Ok(job),
            (_, Some(failure)) => Err(with_hint(&failure.sentence, failure.hint.as_deref())),
            (state, None) => Err(format!("The job ended {}.", output::word(&state))),
        }
    }

    /// Says once for each reason why the job waits.
    async fn say_why_waiting(&self, id: JobId, told: &mut Option<String>) -> Result<(), String> {
        let waiting = self.engine.why_waiting(&self.caller, id).await.map_err(sentence)?;
        let waiting = waiting.filter(|waiting| *waiting != Waiting::Worker).map(|waiting| waiting.sentence());
        if waiting != *told {
            if let Some(waiting) = &waiting {
                eprintln!("{waiting}");
            }
            *told = waiting;
        }
        Ok(())
    }

    async fn watch(&self, id: JobId, quiet: bool) -> Result<Job, String> {
        let mut told = None;
        loop {
            let job = self.engine.wait_for_job(&self.caller, id, FOLLOW_EVERY).await.map_err(sentence)?;
            if !quiet {
                show_progress(&job);
                self.say_why_waiting(id, &mut told).await?;
            }
            if job.state.is_terminal() {
                return Ok(job);
            }
        }
    }
}

/// The person at the machine's shell: whoever may read the data directory may do everything.
pub fn local_caller() -> Caller {
    let principal = Principal {
        user: UserId(uuid::Uuid::nil()),
        name: "local".to_owned(),
        role: Role::Admin,
        scope: Scope::Everything,
        token: None,
    };
    Caller { principal, via: "cli", request_id: uuid::Uuid::new_v4().to_string() }
}

/// An error of the engine as a command prints it.
pub fn sentence(error: trivault_engine::Error) -> String {
    with_hint(&error.sentence, error.hint.as_deref())
}

pub fn with_hint(sentence: &str, hint: Option<&str>) -> String {
    match hint {
        Some(hint) => format!("{sentence}\n  Hint: {hint}"),
        None => sentence.to_owned(),
    }
}

fn show_progress(job: &Job) {
    let total = job.progress.bytes_total.map_or_else(String::new, |total| format!(" of {}", output::bytes(total)));
    eprintln!(
        "{} {:>3} %  read {}{total}, stored {}",
        output::word(&job.state),
        job.percent,
        output::bytes(job.progress.bytes_read),
        output::bytes(job.bytes_stored)
    );
}
