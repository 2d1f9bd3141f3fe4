//! `trivault retention`.

use std::time::Duration;

use serde_json::json;
use trivault_engine::{Repository, RepositoryFilter, Retention};

use super::{
    args::{Common, RetentionCommand, RetentionRules, WhichRepository},
    session::{Session, sentence},
};
use crate::output;

pub async fn run(common: &Common, command: RetentionCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        RetentionCommand::Show { repository, json } => {
            let repository = find(&session, &repository).await?;
            let rules = engine.retention(caller, repository.id).await.map_err(sentence)?;
            if json { output::json(&rules) } else { output::line(&in_words(&rules)) }
        }
        RetentionCommand::Set { repository, rules, force } => {
            let repository = find(&session, &repository).await?;
            let rules = parsed(&rules, engine.zone())?;
            if rules.keeps_everything() {
                return Err("No rule was given; `trivault retention clear` keeps everything.".to_owned());
            }
            engine.set_retention(caller, repository.id, Some(rules.clone()), force).await.map_err(sentence)?;
            output::line(&format!("{}: {}", repository.name, in_words(&rules)))
        }
        RetentionCommand::Clear { repository } => {
            let repository = find(&session, &repository).await?;
            engine.set_retention(caller, repository.id, None, false).await.map_err(sentence)?;
            output::line(&format!("{} keeps everything that has no date of its own.", repository.name))
        }
        RetentionCommand::Preview { repository, rules, json } => {
            let repository = find(&session, &repository).await?;
            let rules = parsed(&rules, engine.zone())?;
            let rules = Some(rules).filter(|rules| !rules.keeps_everything());
            let preview = engine.preview_retention(caller, repository.id, rules).await.map_err(sentence)?;
            if json {
                let rows = preview.iter().map(|(candidate, verdict)| {
                    json!({"backup": candidate.id, "at": candidate.at, "state": candidate.state,
                           "keep": verdict.keep, "reasons": verdict.reasons})
                });
                return output::json(&rows.collect::<Vec<_>>());
            }
            let mut table = output::Table::new(&["BACKUP", "MADE", "WHAT HAPPENS"]);
            for (candidate, verdict) in &preview {
                let reasons: Vec<_> = verdict.reasons.iter().map(|reason| reason.sentence()).collect();
                table.row(vec![candidate.id.to_string(), output::instant(Some(candidate.at)), reasons.join("; ")]);
            }
            table.print()?;
            let going = preview.iter().filter(|(_, verdict)| !verdict.keep).count();
            output::line(&format!("{going} of {} backups go.", preview.len()))
        }
        RetentionCommand::Apply { repository, json } => {
            let repository = find(&session, &repository).await?;
            let jobs = engine.apply_retention(caller, repository.id).await.map_err(sentence)?;
            for job in &jobs {
                session.follow(job.id, false, true).await?;
            }
            if json {
                return output::json(&jobs);
            }
            output::line(&format!("{} backups went.", jobs.len()))
        }
    }
}

pub async fn find(session: &Session, which: &WhichRepository) -> Result<Repository, String> {
    let WhichRepository { repository, owner } = which;
    let filter = RepositoryFilter { owner: owner.clone(), name: Some(repository.clone()), store: None };
    let mut found = session.engine.repositories(&session.caller, filter).await.map_err(sentence)?;
    match (found.pop(), found.first()) {
        (Some(only), None) => Ok(only),
        (None, _) => {
            let all = session.engine.repositories(&session.caller, RepositoryFilter::default()).await;
            let names: Vec<String> = all.map_err(sentence)?.into_iter().map(|repository| repository.name).collect();
            let known = if names.is_empty() {
                "There is none yet.".into()
            } else {
                format!("Known are: {}.", names.join(", "))
            };
            Err(format!("There is no repository called {repository}. {known}"))
        }
        (Some(one), Some(other)) => Err(format!(
            "{repository} is a repository of {} and of {}. Say which: --owner {}",
            one.owner, other.owner, one.owner
        )),
    }
}

fn parsed(rules: &RetentionRules, zone: chrono_tz::Tz) -> Result<Retention, String> {
    let RetentionRules { last, hourly, daily, weekly, monthly, yearly, within_days, manual, zone: named } = rules;
    let zone = match named {
        Some(name) => name.parse().map_err(|_| format!("`{name}` is not an IANA time zone."))?,
        None => zone,
    };
    Ok(Retention {
        last: *last,
        hourly: *hourly,
        daily: *daily,
        weekly: *weekly,
        monthly: *monthly,
        yearly: *yearly,
        within: within_days.map(|days| Duration::from_secs(u64::from(days) * 24 * 3600)),
        manual: *manual,
        ..Retention::everything(zone)
    })
}

fn in_words(rules: &Retention) -> String {
    if rules.keeps_everything() {
        return "keeps everything that has no date of its own".to_owned();
    }
    let Retention { last, hourly, daily, weekly, monthly, yearly, within, manual, unusable_for: _, zone } = rules;
    let counted = [
        (*last, "newest"),
        (*hourly, "hourly"),
        (*daily, "daily"),
        (*weekly, "weekly"),
        (*monthly, "monthly"),
        (*yearly, "yearly"),
    ];
    let mut words: Vec<String> =
        counted.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    words.extend(within.map(|age| format!("all of the last {} days", age.as_secs() / 86_400)));
    words.extend(manual.map(|count| format!("the newest {count} made by hand")));
    format!("keeps {} (in {zone})", words.join(", "))
}
