//! How fast `POST backup` is answered with 100,000 jobs in the history: the real binary, one request after the other.
//!
//! `cargo build --release --workspace && target/release/enqueue [--history 100000] [--requests 1000]`

#![allow(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reqwest::Client;
use rusqlite::Connection;
use trivault_testkit::gateway::{ADMINISTRATOR, Gateway, PASSWORD, Setup};

fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() {
    let (history, requests) = (argument("--history", 100_000), argument("--requests", 1_000));
    let directory = tempfile::tempdir().unwrap();
    let live = directory.path().join("live");
    std::fs::create_dir(&live).unwrap();
    std::fs::write(live.join("file"), "content").unwrap();
    let data = directory.path().join("data");
    let setup = Setup { sources: vec![format!("files=dir:{}", live.display())], ..Setup::default() };
    let http = Client::builder().no_proxy().build().unwrap();

    let mut gateway = Gateway::start(&data, &setup);
    let path = "/api/v1/cluster/self/repository/active/bench";
    let body = r#"{"plan":"_hourly_backups","archive":"/archives/bench","bucket_name":"files"}"#;
    post(&http, &gateway.url, path, body).await;
    post(&http, &gateway.url, &format!("{path}/backup"), "").await;
    until_idle(&http, &gateway.url, path).await;
    assert!(gateway.stop());
    let grown = grow_history(&data.join("trivault.db"), history);

    let gateway = Gateway::start(&data, &setup);
    let mut times: Vec<Duration> = Vec::with_capacity(requests);
    for _ in 0..requests {
        let begin = Instant::now();
        post(&http, &gateway.url, &format!("{path}/backup"), "").await;
        times.push(begin.elapsed());
    }
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!("POST backup, {grown} jobs in the history, {requests} requests, workers running beside");
    println!("median {:.2} ms   90 % {:.2} ms   99 % {:.2} ms   slowest {:.2} ms", at(0.5), at(0.9), at(0.99), at(1.0));
    println!("aim: 99 % under 10 ms");
}

async fn post(http: &Client, base: &str, path: &str, body: &str) {
    let request = http.post(format!("{base}{path}")).basic_auth(ADMINISTRATOR, Some(PASSWORD)).body(body.to_owned());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

async fn until_idle(http: &Client, base: &str, path: &str) {
    loop {
        let request = http.get(format!("{base}{path}")).basic_auth(ADMINISTRATOR, Some(PASSWORD));
        let repository: serde_json::Value = request.send().await.unwrap().json().await.unwrap();
        if repository["running_one_off"].is_null() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Multiplies the finished job until the history is that long.
fn grow_history(database: &Path, wanted: usize) -> usize {
    let connection = Connection::open(database).unwrap();
    let mut columns = connection.prepare("SELECT name FROM pragma_table_info('jobs') WHERE name <> 'id'").unwrap();
    let names: Vec<String> = columns.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    let list = names.join(", ");
    let text = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
         INSERT INTO jobs (id, {list}) SELECT randomblob(16), {list} FROM n, (SELECT * FROM jobs WHERE state = 'succeeded' LIMIT 1)"
    );
    connection.execute(&text, [i64::try_from(wanted).unwrap()]).unwrap()
}
