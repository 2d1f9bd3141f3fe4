//! `trivault plan` and `trivault schedule`.

use serde_json::json;
use trivault_engine::{
    JobKind, NewPlan, OverdueCare, Plan, PlanTask, Repository, RepositoryFilter, RepositoryState, TaskStanding,
    Verified, VerifyLevel, VerifyTask, schedule::in_words,
};

use super::{
    args::{
        Common, LevelName, NewTask, PlanCommand, PlanTarget, PreviewTarget, ScheduleCommand, TaskKind, WhichPlan,
        WhichRepository,
    },
    backup, retention,
    session::{Session, sentence},
    when,
};
use crate::output;

pub async fn run_plan(common: &Common, command: PlanCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        PlanCommand::List { owner, json } => {
            let mut plans = engine.all_plans(caller).await.map_err(sentence)?;
            plans.retain(|plan| owner.as_ref().is_none_or(|owner| plan.owner == *owner));
            if json {
                return output::json(&plans);
            }
            let repositories = repositories(&session).await?;
            let mut table = output::Table::new(&["PLAN", "OWNER", "TASKS", "REPOSITORIES"]);
            for plan in plans {
                let tasks: Vec<&str> = plan.tasks.iter().map(|task| task.name.as_str()).collect();
                let users = users(&plan, &repositories).join(",");
                table.row(vec![plan.name.clone(), plan.owner.clone(), tasks.join(","), users]);
            }
            table.print()
        }
        PlanCommand::Show { plan, json } => {
            let plan = find_plan(&session, &plan.plan, plan.plan_owner.as_deref()).await?;
            if json { output::json(&plan) } else { show(&session, &plan).await }
        }
        PlanCommand::Create { name, task, description, json } => {
            let tasks = vec![plan_task(&task, engine.zone())?];
            let new =
                NewPlan { owner: backup::OWNER, name, description, builtin: false, tasks, attributes: Vec::new() };
            let plan = engine.create_plan(caller, new).await.map_err(sentence)?;
            if json {
                return output::json(&plan);
            }
            show(&session, &plan).await?;
            output::line(&format!("It runs once it is attached: trivault plan attach {} --source NAME", plan.name))
        }
        PlanCommand::AddTask { name, task, json } => {
            let standing = engine.plan_named(caller, backup::OWNER, &name).await.map_err(sentence)?;
            let plan = with_task(standing, plan_task(&task, engine.zone())?);
            let plan = engine.put_plan(caller, plan).await.map_err(sentence)?;
            if json { output::json(&plan) } else { show(&session, &plan).await }
        }
        PlanCommand::Delete { plan } => {
            let plan = find_plan(&session, &plan.plan, plan.plan_owner.as_deref()).await?;
            engine.delete_plan(caller, plan.id).await.map_err(sentence)?;
            output::line(&format!("Deleted the plan {}.", plan.name))
        }
        PlanCommand::Attach { plan, target } => attach(&session, &plan, &target).await,
        PlanCommand::Detach { repository, owner } => {
            let repository = retention::find(&session, &WhichRepository { repository, owner }).await?;
            engine.attach_plan(caller, repository.id, None).await.map_err(sentence)?;
            output::line(&format!("Nothing is scheduled for {} any more.", repository.name))
        }
    }
}

pub async fn run(common: &Common, command: ScheduleCommand) -> Result<(), String> {
    let session = Session::open(common).await?;
    let (engine, caller) = (&session.engine, &session.caller);
    match command {
        ScheduleCommand::List { overdue, json } => {
            let mut standings = engine.task_standings(caller, None).await.map_err(sentence)?;
            standings.retain(|standing| !overdue || standing.overdue_since.is_some());
            let care = engine.overdue_care(caller).await.map_err(sentence)?;
            if json {
                let mut rows: Vec<_> = standings.iter().map(row_as_json).collect();
                rows.extend(care.iter().filter(|_| overdue).map(care_as_json));
                output::json(&rows)?;
            } else {
                print_standings(&standings, &care)?;
            }
            match (standings.len(), care.len()) {
                (0, 0) => Ok(()),
                (_, _) if !overdue => Ok(()),
                (tasks, 0) => Err(format!("{tasks} scheduled tasks are overdue.")),
                (0, care) => Err(format!("{care} checks and prunes are overdue.")),
                (tasks, care) => Err(format!("{tasks} scheduled tasks, and {care} checks and prunes, are overdue.")),
            }
        }
        ScheduleCommand::Preview { what: PreviewTarget { plan, repository }, owner, count, json } => {
            let count = usize::from(count);
            let runs = match (plan, repository) {
                (Some(plan), _) => {
                    let plan = find_plan(&session, &plan, owner.as_deref()).await?;
                    engine.upcoming_runs_of_plan(caller, plan.id, count).await
                }
                (None, repository) => {
                    let repository = repository.unwrap_or_default();
                    let repository = retention::find(&session, &WhichRepository { repository, owner }).await?;
                    engine.upcoming_runs(caller, repository.id, count).await
                }
            };
            let runs = runs.map_err(sentence)?;
            if json {
                return output::json(&runs);
            }
            if runs.is_empty() {
                return output::line("Nothing is scheduled.");
            }
            let mut table = output::Table::new(&["UTC", "LOCAL", "ZONE", "TASK", "KIND"]);
            for run in runs {
                table.row(vec![
                    output::instant(Some(run.at)),
                    run.at.with_timezone(&run.zone).format("%a %Y-%m-%d %H:%M").to_string(),
                    run.zone.to_string(),
                    run.task,
                    output::word(&run.kind),
                ]);
            }
            table.print()
        }
    }
}

async fn attach(session: &Session, plan: &WhichPlan, target: &PlanTarget) -> Result<(), String> {
    let (engine, caller) = (&session.engine, &session.caller);
    let plan = find_plan(session, &plan.plan, plan.plan_owner.as_deref()).await?;
    let PlanTarget { source, all: _, repository } = target;
    let repository = match repository {
        Some(name) => {
            let which = WhichRepository { repository: name.clone(), owner: None };
            retention::find(session, &which).await?
        }
        None => backup::ensure_repository(session, source.as_deref()).await?,
    };
    engine.attach_plan(caller, repository.id, Some(plan.id)).await.map_err(sentence)?;
    let runs = engine.upcoming_runs(caller, repository.id, 1).await.map_err(sentence)?;
    let next = runs.first().map_or_else(String::new, |run| {
        format!(" Next: {} at {}.", run.task, run.at.with_timezone(&run.zone).format("%Y-%m-%d %H:%M %Z"))
    });
    output::line(&format!("{} runs for {}.{next}", plan.name, repository.name))?;
    if engine.live_server().map_err(sentence)?.is_none() {
        output::line("It takes a running server: trivault serve")?;
    }
    Ok(())
}

fn plan_task(task: &NewTask, zone: chrono_tz::Tz) -> Result<PlanTask, String> {
    let kind = match task.task {
        TaskKind::Backup => JobKind::Backup,
        TaskKind::Merge => JobKind::Merge,
        TaskKind::Prune => JobKind::Prune,
        TaskKind::Verify => JobKind::Verify,
    };
    if task.full && kind != JobKind::Backup {
        return Err("--full is for backups.".to_owned());
    }
    let verify = verification(task, kind)?;
    let name = task.task_name.clone().unwrap_or_else(|| output::word(&kind));
    Ok(PlanTask { name, kind, schedule: when::schedule(task, zone)?, full: task.full, merge_window: None, verify })
}

fn verification(task: &NewTask, kind: JobKind) -> Result<Option<VerifyTask>, String> {
    let level = match task.level {
        None => return Ok(None),
        Some(_) if kind != JobKind::Verify => return Err("--level is for verifications.".to_owned()),
        Some(LevelName::V4) => VerifyLevel::Structure,
        Some(LevelName::V5) => VerifyLevel::Data,
        Some(LevelName::V6) => VerifyLevel::Restore,
    };
    if task.shares.is_some() && level != VerifyLevel::Data {
        return Err("--shares is for verifications of the level v5, which alone read the vault's data.".to_owned());
    }
    Ok(Some(VerifyTask { level, shares: task.shares.unwrap_or(1) }))
}

/// What a task does, in words.
fn what(task: &PlanTask) -> String {
    let kind = output::word(&task.kind);
    match task.verify {
        Some(VerifyTask { level, shares: 0 | 1 }) => format!("{kind} {}", output::word(&level)),
        Some(VerifyTask { level, shares }) => format!("{kind} {}, 1/{shares}", output::word(&level)),
        None if task.full => format!("full {kind}"),
        None => kind,
    }
}

/// The plan with this task too, in the place of one of its name.
fn with_task(plan: Plan, task: PlanTask) -> NewPlan {
    let Plan { id: _, owner: _, name, description, builtin, mut tasks, attributes, created_at: _, updated_at: _ } =
        plan;
    match tasks.iter_mut().find(|standing| standing.name == task.name) {
        Some(standing) => *standing = task,
        None => tasks.push(task),
    }
    NewPlan { owner: backup::OWNER, name, description, builtin, tasks, attributes }
}

async fn find_plan(session: &Session, name: &str, owner: Option<&str>) -> Result<Plan, String> {
    let plans = session.engine.all_plans(&session.caller).await.map_err(sentence)?;
    let known: Vec<String> = plans.iter().map(|plan| plan.name.clone()).collect();
    let wanted = |plan: &Plan| plan.name == name && owner.is_none_or(|owner| plan.owner == owner);
    let mut found: Vec<Plan> = plans.into_iter().filter(wanted).collect();
    match (found.pop(), found.first()) {
        (Some(only), None) => Ok(only),
        (None, _) if known.is_empty() => {
            Err(format!("There is no plan called {name}. `trivault plan create` makes one."))
        }
        (None, _) => Err(format!("There is no plan called {name}. Known are: {}.", known.join(", "))),
        (Some(one), Some(other)) => {
            Err(format!("{name} is a plan of {} and of {}. Say which owner's is meant.", one.owner, other.owner))
        }
    }
}

async fn repositories(session: &Session) -> Result<Vec<Repository>, String> {
    session.engine.repositories(&session.caller, RepositoryFilter::default()).await.map_err(sentence)
}

fn users<'a>(plan: &Plan, repositories: &'a [Repository]) -> Vec<&'a str> {
    let users = repositories.iter().filter(|repository| {
        repository.plan == Some(plan.id) && matches!(repository.state, RepositoryState::Active { paused: _ })
    });
    users.map(|repository| repository.name.as_str()).collect()
}

async fn show(session: &Session, plan: &Plan) -> Result<(), String> {
    output::line(&format!("Plan {} of {}", plan.name, plan.owner))?;
    if let Some(description) = &plan.description {
        output::line(description)?;
    }
    let now = session.engine.now();
    let mut table = output::Table::new(&["TASK", "KIND", "WHEN", "FIRST RUN, ATTACHED NOW"]);
    for task in &plan.tasks {
        let first = trivault_engine::schedule::first(&task.schedule, now);
        table.row(vec![task.name.clone(), what(task), in_words(&task.schedule), output::instant(first)]);
    }
    table.print()?;
    match users(plan, &repositories(session).await?).as_slice() {
        [] => Ok(()),
        users => output::line(&format!("Repositories: {}", users.join(", "))),
    }
}

fn row_as_json(standing: &TaskStanding) -> serde_json::Value {
    let TaskStanding {
        repository,
        repository_name,
        owner,
        paused,
        plan: _,
        plan_name,
        task,
        holds_since: _,
        last_run,
        last_success,
        next_run,
        overdue_since,
    } = standing;
    json!({
        "repository": repository_name, "repository_id": repository, "owner": owner, "plan": plan_name,
        "task": task.name, "kind": task.kind, "when": in_words(&task.schedule), "zone": task.schedule.zone.name(),
        "paused": paused, "last_run": last_run, "last_success": last_success, "next_run": next_run,
        "overdue_since": overdue_since,
    })
}

fn care_as_json(overdue: &OverdueCare) -> serde_json::Value {
    let OverdueCare { care, of, store, name, last, overdue_since } = overdue;
    json!({
        "care": care.to_string(), "of": of, "name": name, "store_id": store, "last": last, "overdue_since": overdue_since,
    })
}

/// The server's own checks and prunes are a table of their own, and only what is overdue of them.
fn print_standings(standings: &[TaskStanding], care: &[OverdueCare]) -> Result<(), String> {
    if standings.is_empty() && care.is_empty() {
        return output::line("Nothing is scheduled, or nothing is overdue.");
    }
    if !standings.is_empty() {
        print_tasks(standings)?;
    }
    if care.is_empty() {
        return Ok(());
    }
    let mut table = output::Table::new(&["CHECK OR PRUNE", "OF", "LAST", "OVERDUE SINCE"]);
    for OverdueCare { care, of, store: _, name, last, overdue_since } in care {
        let of = match of {
            Verified::Vault(_) => format!("vault {name}"),
            Verified::Repository(_) => format!("repository {name}"),
        };
        table.row(vec![care.to_string(), of, output::instant(*last), output::instant(Some(*overdue_since))]);
    }
    table.print()
}

fn print_tasks(standings: &[TaskStanding]) -> Result<(), String> {
    let header = ["REPOSITORY", "TASK", "WHEN", "LAST RUN", "ENDED", "LAST SUCCESS", "NEXT RUN", "OVERDUE SINCE"];
    let mut table = output::Table::new(&header);
    for standing in standings {
        let next = match standing.next_run {
            _ if standing.paused => "paused".to_owned(),
            Some(next_run) => output::instant(Some(next_run)),
            None => "no further run".to_owned(),
        };
        table.row(vec![
            standing.repository_name.clone(),
            standing.task.name.clone(),
            in_words(&standing.task.schedule),
            output::instant(standing.last_run.map(|run| run.began)),
            standing.last_run.map_or_else(|| "-".to_owned(), |run| output::word(&run.state)),
            output::instant(standing.last_success.and_then(|run| run.ended)),
            next,
            output::instant(standing.overdue_since),
        ]);
    }
    table.print()
}
