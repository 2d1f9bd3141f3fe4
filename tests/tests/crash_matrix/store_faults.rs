//! A store on S3 that has bad days while work of every kind goes on. The same promises are looked at afterwards.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use trivault_testkit::{
    fault_proxy::{Asked, Fault, FaultProxy, by_seed},
    postgres::PostgresServer,
    s3::S3Server,
};

use crate::{
    aftermath,
    cells::seed,
    ground::{Ground, Metadata, Place},
    promises::Known,
    site::{Job, Site, Sources},
    work::Work,
};

/// What is done while the store has a bad day.
const WORKS: [Work; 6] =
    [Work::Backup, Work::Forget, Work::Merge, Work::PruneMarks, Work::VerifyBackups, Work::RestoreTree];
/// About one of so many requests goes wrong.
const ONE_IN: u64 = 5;
/// A bad day is over when so many requests went wrong, or after this long: each attempt of a job ends some time.
const ENOUGH: u64 = 6;
const BAD_DAY: Duration = Duration::from_secs(6);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Nobody is waited for longer than a second, and nothing is sent more than twice: that what is sent again helps is shown below a vault,
/// here jobs shall fail in their middle and be tried again.
const IMPATIENT: &str = "connect_seconds = 1\nsilence_seconds = 1\nrequest_seconds = 2\nretry_seconds = 1\ntries = 2\n";

/// Late ones are below [`IMPATIENT`]'s second of silence and above it.
const SILENCE: &[Fault] = &[Fault::Silent, Fault::SilentAfterEffect, Fault::Late(700), Fault::Late(1500)];
/// The same for listings, told apart from those by their times.
const SLOW_LISTINGS: &[Fault] = &[Fault::Late(800), Fault::Late(1600)];

/// What becomes of each request.
type Plan = Box<dyn FnMut(Asked<'_>) -> Option<Fault> + Send>;

/// About one of five requests meets one of these faults.
fn any_of(faults: &'static [Fault]) -> impl Fn(u64) -> Plan {
    move |seed| -> Plan { Box::new(by_seed(seed, ONE_IN, faults)) }
}

/// Every second listing is slow, the first one with it; about one of five other requests meets silence.
fn silence_and_slow_listings(seed: u64) -> Plan {
    let (mut others, mut late) = (by_seed(seed, ONE_IN, SILENCE), by_seed(seed, 1, SLOW_LISTINGS));
    let mut listings = 0_u64;
    Box::new(move |asked: Asked<'_>| {
        if !asked.is_listing() {
            return others(asked);
        }
        listings += 1;
        if listings.is_multiple_of(2) { None } else { late(asked) }
    })
}

/// Does each kind of work while requests meet what a plan by the seed says. Answers how often each fault was met; `None` where PostgreSQL
/// or S3 are left out on purpose.
fn on_bad_days(name: &str, plan: impl Fn(u64) -> Plan) -> Option<BTreeMap<Fault, u64>> {
    let (metadata, server) = (PostgresServer::shared()?, S3Server::start()?);
    server.make_bucket("bad-days");
    let proxy = FaultProxy::start(&server.endpoint());
    let metadata = format!("[database]\nurl = \"{}\"\n", metadata.create_database());
    let store = format!(
        "location = \"s3://bad-days/trivault\"\nregion = \"us-east-1\"\nendpoint = \"{}\"\nallow_http = true\n\
         access_key_env = \"STORE_ACCESS\"\nsecret_key_env = \"STORE_SECRET\"\n{IMPATIENT}",
        proxy.endpoint()
    );
    let ground = Ground { metadata: Metadata::Postgres, place: Place::S3 };
    let mut site = Site::on_store(ground, Sources::Files, [&metadata, &metadata], &store, |_| {})?;
    let seed = seed();
    println!("{name}: seed {seed}");
    let mut met: BTreeMap<Fault, u64> = BTreeMap::new();
    for (turn, work) in (0_u64..).zip(WORKS) {
        let prepared = work.prepare(&mut site);
        let known = Known::of(&site);
        proxy.plan(plan(seed.wrapping_add(turn)));
        let mut child = site.spawn(&prepared.begin);
        let begun = Instant::now();
        let so_far = || proxy.given().values().sum::<u64>();
        while so_far() < ENOUGH && begun.elapsed() < BAD_DAY && !is_over(&site, &known, work, &mut child) {
            thread::sleep(LOOK_EVERY);
        }
        let faults = proxy.given();
        proxy.heal();
        for (fault, times) in &faults {
            *met.entry(*fault).or_default() += times;
        }
        // Commands that wait for their job end with it.
        let output = child.wait_with_output().unwrap();
        let jobs = known.is_kept(&mut site, Some(work), &prepared.before);
        let own: Vec<&Job> = jobs.iter().filter(|job| Some(job.kind.as_str()) == work.kind()).collect();
        println!("{work}: {faults:?}; {} {own:?}", output.status);
        let found = aftermath::sources(&site, work, &prepared);
        println!("{work}: {found}");
        // It takes as long as all the rest: what one kind of work has broken, the next one or the last look comes upon.
        if turn % 3 == 2 {
            aftermath::all_is_well(&mut site, &prepared);
        }
    }
    assert!(met.values().sum::<u64>() >= WORKS.len() as u64, "{name}: so few requests have gone wrong: {met:?}");
    Some(met)
}

/// Whether the command, and with it the work, has come to its end.
fn is_over(site: &Site, known: &Known, work: Work, child: &mut std::process::Child) -> bool {
    if child.try_wait().unwrap().is_none() {
        return false;
    }
    let jobs = site.jobs();
    let mut own = jobs.iter().filter(|job| !known.has_job(&job.id) && Some(job.kind.as_str()) == work.kind());
    own.all(Job::is_over)
}

#[test]
fn a_store_that_answers_503_costs_no_job_no_backup_and_no_source() {
    on_bad_days("503", any_of(&[Fault::Refused(503, "SlowDown"), Fault::Refused(500, "InternalError")]));
}

#[test]
fn a_store_whose_connections_are_cut_before_and_after_an_effect_costs_no_job_no_backup_and_no_source() {
    on_bad_days("cut connections", any_of(&[Fault::CutBeforeEffect, Fault::CutAfterEffect]));
}

#[test]
fn a_store_whose_bodies_are_torn_costs_no_job_no_backup_and_no_source() {
    on_bad_days("torn bodies", any_of(&[Fault::TornUpload, Fault::TornAnswer]));
}

#[test]
fn a_store_that_is_silent_before_and_after_an_effect_or_late_and_lists_slowly_costs_no_job_no_backup_and_no_source() {
    let Some(met) = on_bad_days("silence", silence_and_slow_listings) else { return };
    assert!(SLOW_LISTINGS.iter().any(|slow| met.contains_key(slow)), "no listing was slow: {met:?}");
}
