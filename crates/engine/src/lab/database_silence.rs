//! Connections to the metadata database that fall silent and stay open.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use trivault_testkit::{
    postgres::{PostgresServer, Variant},
    proxy::{Cut, CuttingProxy},
};

use super::{
    bench::{Bench, admin},
    gate::Gate,
};
use crate::{
    DatabaseLocation,
    db::{Database, DatabaseOptions},
    domain::*,
};

/// Which of the requests to the database fall silent, counted from when the job goes on.
const SILENT: [u64; 8] = [0, 1, 2, 4, 6, 9, 12, 16];
/// Longest time that a job is waited for: a silent answer leaves locks for ten seconds, and there are many.
const LIMIT: Duration = Duration::from_secs(240);

/// A bench whose database is behind a proxy, that database without it, and a gate at a backup's `capture`.
async fn behind_a_proxy(server: &PostgresServer, lease: Duration) -> (Bench, Database, CuttingProxy, Arc<Gate>) {
    let proxy = CuttingProxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())));
    let direct = server.create_database();
    let name = direct.split('?').next().and_then(|url| url.rsplit('/').next()).unwrap();
    let url = format!("postgresql://postgres@127.0.0.1:{}/{name}", proxy.address().port());
    let gate = Gate::closed("capture", 1);
    let observer = gate.observer();
    let bench = Bench::with(|options| {
        options.database = DatabaseLocation::Postgres(SecretText::new(url));
        options.database_patience = Duration::from_secs(3);
        options.lease = lease;
        options.observer = Some(observer);
    })
    .await;
    let direct = Database::connect(&DatabaseOptions::Postgres { url: SecretText::new(direct) }).await.unwrap();
    (bench, direct, proxy, gate)
}

async fn held_backup(bench: &Bench, gate: &Gate) -> JobId {
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let started = bench.engine.start_backup(&admin(), bench.request(&repository)).await.unwrap();
    gate.arrived("capture", 1, 1).await;
    started.job.id
}

/// The job at its end, and its log.
async fn ended(direct: &Database, id: JobId) -> (Job, String) {
    let begun = Instant::now();
    loop {
        let job = direct.job(id).await.unwrap().unwrap();
        let lines = direct.job_log(id, 1000).await.unwrap();
        let log: String = lines.into_iter().map(|line| line.text + "\n").collect();
        if job.state.is_terminal() {
            return (job, log);
        }
        assert!(begun.elapsed() < LIMIT, "{job:?}\n{log}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn goes_on(server: &PostgresServer, cut: Cut) {
    let (bench, direct, proxy, gate) = behind_a_proxy(server, Duration::from_secs(40)).await;
    let id = held_backup(&bench, &gate).await;
    for request in SILENT {
        proxy.cut_after(request, cut);
    }
    gate.open();
    let (job, log) = ended(&direct, id).await;
    assert_eq!(job.state, JobState::Succeeded, "{cut:?}: {:?}\n{log}", job.failure);
    assert!(proxy.made() >= 4, "{cut:?}: {}", proxy.made());
    bench.engine.shutdown(Duration::from_secs(5)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_when_connections_fall_silent_before_or_after_the_effect_of_a_statement() {
    let Some(server) = PostgresServer::own(&Variant { tcp: true, ..Variant::default() }) else { return };
    tokio::join!(goes_on(&server, Cut::SilentBefore), goes_on(&server, Cut::SilentAfter));
}

/// Also the connection by which it hears the other nodes, which says a last word when it is let go.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_stops_in_time_although_its_database_is_silent() {
    let Some(server) = PostgresServer::own(&Variant { tcp: true, ..Variant::default() }) else { return };
    let (bench, _direct, proxy, gate) = behind_a_proxy(&server, Duration::from_secs(40)).await;
    held_backup(&bench, &gate).await;
    for request in 0..1_000 {
        proxy.cut_after(request, Cut::SilentBefore);
    }
    gate.open();
    let stopped = tokio::time::timeout(LIMIT / 2, bench.engine.shutdown(Duration::from_secs(5))).await;
    assert!(stopped.is_ok(), "it waits for an answer that does not come");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_whose_database_is_silent_for_a_lease_stops_and_another_attempt_does_its_work() {
    let Some(server) = PostgresServer::own(&Variant { tcp: true, ..Variant::default() }) else { return };
    let lease = Duration::from_secs(4);
    let (bench, direct, proxy, gate) = behind_a_proxy(&server, lease).await;
    let id = held_backup(&bench, &gate).await;
    let context = bench.engine.inner().work.contexts().remove(0);
    for request in 0..1_000 {
        proxy.cut_after(request, Cut::SilentBefore);
    }
    let begun = Instant::now();
    while !context.was_lost() {
        assert!(begun.elapsed() < lease * 3, "the run does not see that its lease is over");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    proxy.heal();
    gate.open();
    let (job, log) = ended(&direct, id).await;
    assert_eq!(job.state, JobState::Succeeded, "{:?}\n{log}", job.failure);
    assert!(job.attempt > 1, "{log}");
}
