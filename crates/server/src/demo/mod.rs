//! `trivault demo`: everything shown on sample data, through the documented calls of each dialect.

mod arcgis;
mod client;
mod compare;
mod couchbase;
mod dbaas;
mod postgresql;
mod sample;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::Value;
use trivault_engine::{BackupFilter, NewSource, SecretText};

use self::client::{Answer, Call, Client, Credentials};
use crate::{
    cli::{
        args::{Common, DemoArguments, ServeArguments},
        session,
    },
    config, output, serve,
};

/// As the Couchbase manual's lines write them, so that they work as printed. The demo listens on loopback only.
const ADMINISTRATOR: &str = "Administrator";
const PASSWORD: &str = "password";
/// The bucket of the manual's lines.
const DATABASE: &str = "travel-sample";
const TREE: &str = "photos";

/// A job that takes longer is a failure of the demo.
const PATIENCE: Duration = Duration::from_secs(300);
const POLL_EVERY: Duration = Duration::from_millis(200);

/// What is printed on the way; `--quiet` keeps the closing table only.
pub struct Story {
    quiet: bool,
}

impl Story {
    pub fn say(&self, text: &str) {
        if !self.quiet {
            println!("{text}");
        }
    }

    pub fn chapter(&self, title: &str) {
        self.say(&format!("\n── {title} {}", "─".repeat(96_usize.saturating_sub(title.chars().count()))));
    }
}

/// One comparison of restored data with what was backed up.
pub struct Comparison {
    pub dialect: &'static str,
    pub what: String,
    pub result: Result<String, String>,
    pub seconds: f64,
}

/// What the three chapters work with.
pub struct Stage<'a> {
    pub story: &'a Story,
    pub client: &'a Client,
    /// Of the gateway, without a slash at the end.
    pub url: String,
    pub administrator: Credentials,
    pub database: PathBuf,
    pub tree: PathBuf,
    /// Copies of the live data as they were when they were backed up.
    pub reference: PathBuf,
}

impl Stage<'_> {
    /// Asks again until `is_done` answers true; tells the first and the last answer.
    async fn poll(&self, call: impl Fn() -> Call<'static>, is_done: impl Fn(&Value) -> bool) -> Result<Answer, String> {
        let begin = Instant::now();
        let mut answer = self.client.tell(self.story, call(), 200).await?;
        let mut asked = 1_u32;
        while !is_done(&answer.json) {
            if begin.elapsed() > PATIENCE {
                return Err(format!("The job did not end within {} seconds.", PATIENCE.as_secs()));
            }
            tokio::time::sleep(POLL_EVERY).await;
            answer = self.client.quietly(call(), 200).await?;
            asked += 1;
        }
        if asked > 1 {
            self.story.say(&format!("… asked {asked} times, {:.1} s:", begin.elapsed().as_secs_f64()));
            self.client.tell(self.story, call(), 200).await?;
        }
        Ok(answer)
    }

    fn reference_database(&self) -> PathBuf {
        self.reference.join("travel-sample.db")
    }

    fn reference_tree(&self) -> PathBuf {
        self.reference.join("photos")
    }
}

/// # Errors
/// A sentence when something did not work or a comparison did not hold.
pub async fn run(common: &Common, arguments: DemoArguments) -> Result<(), String> {
    let DemoArguments { listen, postgresql, exit, quiet } = arguments;
    let database = postgresql.as_deref().map(postgresql::source).transpose()?;
    let story = Story { quiet };
    let (place, is_temporary) = place(common)?;
    let outcome = show(common, &story, &place, listen, database, exit).await;
    if is_temporary {
        fs::remove_dir_all(&place).map_err(|error| format!("{} cannot be removed: {error}.", place.display()))?;
    }
    outcome
}

async fn show(
    common: &Common,
    story: &Story,
    place: &Path,
    listen: String,
    own_database: Option<NewSource>,
    exit: bool,
) -> Result<(), String> {
    let live = place.join("live");
    let (database, tree) = (live.join("travel-sample.db"), live.join("photos"));
    story.chapter("Sample data");
    let rows = prepare(place, &database, &tree)?;
    story.say(&format!("{DATABASE}: {rows} rows in {}", database.display()));
    story.say(&format!("{TREE}: a directory tree in {}", tree.display()));

    let data_directory = place.join("data");
    let common = Common { data_dir: Some(data_directory), ..common.clone() };
    let serve_arguments = ServeArguments {
        listen: vec![listen],
        source: vec![format!("{DATABASE}=sqlite:{}", database.display()), format!("{TREE}=dir:{}", tree.display())],
        ..ServeArguments::default()
    };
    let configuration = config::resolve::resolve(&common, &serve_arguments)?;
    crate::logging::start(configuration.log_filter.as_deref(), configuration.log_format, "warn")?;
    let gateway = serve::start(&configuration, Some(SecretText::new(PASSWORD))).await?;
    let client = Client::new()?;
    let stage = Stage {
        story,
        client: &client,
        url: gateway.url().to_owned(),
        administrator: Credentials::Basic { user: ADMINISTRATOR.to_owned(), password: PASSWORD.to_owned() },
        reference: place.join("reference"),
        database,
        tree,
    };
    let shown = chapters(&stage, &gateway, own_database).await;
    let closing = match &shown {
        Ok(comparisons) => close(&stage, &gateway, comparisons).await,
        Err(sentence) => Err(sentence.clone()),
    };
    if !exit && closing.is_ok() {
        println!(
            "\nStill serving on {} (user {ADMINISTRATOR}, password {PASSWORD}); Ctrl-C ends it.\n\
             Pages for a browser: {}/arcgis/admin",
            stage.url, stage.url
        );
        serve::until_told_to_stop().await?;
    }
    gateway.stop().await;
    closing
}

async fn chapters(
    stage: &Stage<'_>,
    gateway: &serve::Gateway,
    own_database: Option<NewSource>,
) -> Result<Vec<Comparison>, String> {
    let mut comparisons = Vec::new();
    comparisons.push(couchbase::chapter(stage, gateway).await?);
    comparisons.extend(arcgis::chapter(stage).await?);
    comparisons.push(dbaas::chapter(stage, gateway).await?);
    // Last: only now may the site, which ArcGIS restores as a whole and in place, hold a source that is not the demo's.
    if let Some(source) = own_database {
        comparisons.extend(postgresql::chapter(stage, gateway, source).await?);
    }
    Ok(comparisons)
}

/// The demo's directory, and whether it goes away at the end.
fn place(common: &Common) -> Result<(PathBuf, bool), String> {
    let (place, is_temporary) = match &common.data_dir {
        Some(directory) => (directory.clone(), false),
        None => (std::env::temp_dir().join(format!("trivault-demo-{}", uuid::Uuid::new_v4().simple())), true),
    };
    fs::create_dir_all(&place).map_err(|error| format!("{} cannot be made: {error}.", place.display()))?;
    Ok((place, is_temporary))
}

/// Makes the live data anew and a copy of them to compare with; answers the number of rows.
fn prepare(place: &Path, database: &Path, tree: &Path) -> Result<i64, String> {
    for name in ["live", "reference", "data", "opened"] {
        let directory = place.join(name);
        if directory.exists() {
            if !directory.join(".trivault-demo").exists() && name != "data" {
                return Err(format!(
                    "{} exists and is not the demo's; choose another --data-dir.",
                    directory.display()
                ));
            }
            fs::remove_dir_all(&directory)
                .map_err(|error| format!("{} cannot be removed: {error}.", directory.display()))?;
        }
    }
    let fault = |error: std::io::Error| format!("The sample data cannot be made: {error}.");
    for name in ["live", "reference", "opened"] {
        fs::create_dir_all(place.join(name)).map_err(fault)?;
        fs::write(place.join(name).join(".trivault-demo"), "").map_err(fault)?;
    }
    fs::create_dir(tree).map_err(fault)?;
    let rows =
        sample::build_database(database).map_err(|error| format!("The sample database cannot be made: {error}."))?;
    sample::build_tree(tree).map_err(fault)?;
    let reference = place.join("reference");
    fs::copy(database, reference.join("travel-sample.db")).map_err(fault)?;
    let copied =
        std::process::Command::new("cp").arg("-a").arg(tree).arg(reference.join("photos")).status().map_err(fault)?;
    if copied.success() { Ok(rows) } else { Err("The sample tree cannot be copied.".to_owned()) }
}

/// Times a comparison.
fn compared(dialect: &'static str, what: &str, compare: impl FnOnce() -> Result<String, String>) -> Comparison {
    let begin = Instant::now();
    let result = compare();
    Comparison { dialect, what: what.to_owned(), result, seconds: begin.elapsed().as_secs_f64() }
}

/// The closing tables: backups with sizes and deduplication, then what was compared.
async fn close(stage: &Stage<'_>, gateway: &serve::Gateway, comparisons: &[Comparison]) -> Result<(), String> {
    let caller = session::local_caller();
    let backups = gateway.engine().backups(&caller, BackupFilter::default()).await.map_err(session::sentence)?;
    let mut table =
        output::Table::new(&["BACKUP OF", "STATE", "MADE AT", "ITEMS", "LIVE", "ADDED TO STORE", "RATIO", "SECONDS"]);
    for backup in backups.iter().rev() {
        for part in &backup.parts {
            let (size, added) = (part.size.unwrap_or(0), part.stored_size.unwrap_or(0));
            let seconds = part.started_at.zip(part.finished_at).map(|(start, end)| (end - start).as_seconds_f64());
            table.row(vec![
                part.source_name.clone(),
                output::word(&part.state),
                output::instant(Some(backup.created_at)),
                part.items.unwrap_or(0).to_string(),
                output::bytes(size),
                output::bytes(added),
                format!("{:.1} : 1", size as f64 / added.max(1) as f64),
                seconds.map_or_else(String::new, |seconds| format!("{seconds:.2}")),
            ]);
        }
    }
    stage.story.chapter("What happened");
    println!("\n{}", table.render());
    let mut table = output::Table::new(&["DIALECT", "RESTORED", "RESULT", "SECONDS"]);
    for Comparison { dialect, what, result, seconds } in comparisons {
        let result = match result {
            Ok(text) => format!("equal: {text}"),
            Err(text) => format!("DIFFERENT: {text}"),
        };
        table.row(vec![(*dialect).to_owned(), what.clone(), result, format!("{seconds:.2}")]);
    }
    println!("{}", table.render());
    match comparisons.iter().filter(|comparison| comparison.result.is_err()).count() {
        0 => Ok(()),
        count => Err(format!("{count} of {} comparisons did not hold.", comparisons.len())),
    }
}
