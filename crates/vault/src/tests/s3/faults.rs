//! Bad days: whatever server and network do, a call succeeds or says what is wrong in good time, nothing is lost, and the next try works.

use super::*;
use crate::{LockMode, VaultError, VaultErrorKind, tests::prune::hours};
use std::time::Instant;
use trivault_testkit::fault_proxy::{Asked, Fault, by_seed};

/// Of so many requests about one goes wrong.
const ONE_IN: u64 = 6;
/// The same where each costs the time until it is given up.
const SILENT_ONE_IN: u64 = 12;
/// Tries until a piece of work must have succeeded.
const TRIES: usize = 12;

fn assert_told(error: &VaultError, kinds: &[VaultErrorKind]) {
    assert!(kinds.contains(error.kind()), "{error:?}");
    assert!(error.sentence().len() > 20 && error.hint().is_some_and(|hint| !hint.is_empty()), "{error:?}");
}

/// Does it until it succeeds, each time with a vault that is opened anew; answers with how many tries failed.
fn until_done<T>(cloud: &Cloud, kinds: &[VaultErrorKind], work: impl Fn(&Vault) -> Result<T>) -> (T, usize) {
    for failed in 0..TRIES {
        let outcome = open_at(cloud.faulty("bad")).and_then(|vault| {
            let left: Vec<_> = vault.own_stale_locks()?.iter().map(|lock| lock.id).collect();
            vault.remove_locks(&left)?;
            work(&vault)
        });
        match outcome {
            Ok(done) => return (done, failed),
            Err(error) => assert_told(&error, kinds),
        }
    }
    panic!("it did not succeed in {TRIES} tries: {:?}", cloud.proxy.given());
}

/// A day of work with one kind of fault.
fn bad_day(
    cloud: &Cloud,
    day: u64,
    faults: &'static [Fault],
    kinds: &[VaultErrorKind],
    kept: &mut Vec<(Committed, Vec<u8>)>,
) {
    let begin = Instant::now();
    let is_silent = faults.iter().any(|fault| matches!(fault, Fault::Silent | Fault::SilentAfterEffect));
    cloud.proxy.plan(by_seed(day, if is_silent { SILENT_ONE_IN } else { ONE_IN }, faults));
    let content = [noise(day, 200_000), rows(day, 50_000)].concat();
    let mut failed = 0;
    let locked = |vault: &Vault| -> Result<Committed> {
        let lock = vault.lock(LockMode::Shared, Duration::ZERO)?;
        let capture = vault.capture(draft(), None, Arc::new(Events::default()))?;
        let mut root = capture.directory();
        root.add_file(b"f", &file_meta(), &stream(&capture, &content, CONTENT_DEFINED)?)?;
        let committed = commit(capture, root.finish()?)?;
        lock.refresh_now()?;
        lock.check()?;
        Ok(committed)
    };
    let (committed, tries) = until_done(cloud, kinds, locked);
    failed += tries;
    let read = |vault: &Vault| read_all(&vault.reader(&vault.snapshot(&committed.snapshot)?)?, &[b"f"]);
    let (found, tries) = until_done(cloud, kinds, read);
    assert_eq!(found, content);
    failed += tries;
    let check = |vault: &Vault| vault.check(&CheckOptions { read: ReadSubset::None }, &Calm);
    let (report, tries) = until_done(cloud, kinds, check);
    assert!(report.is_sound() || kinds.contains(&VaultErrorKind::Damaged), "{report:?}");
    failed += tries;
    if day.is_multiple_of(2) {
        failed += until_done(cloud, kinds, |vault| vault.forget(&committed.snapshot)).1;
    } else {
        kept.push((committed, content));
    }
    let now = hours(26 * i64::try_from(day).unwrap());
    failed += until_done(cloud, kinds, |vault| vault.prune(&now, &Calm)).1;
    eprintln!(
        "{faults:?}: {:?} of {} requests, {failed} failed calls, {:?}",
        cloud.proxy.given(),
        cloud.proxy.requests(),
        begin.elapsed()
    );
    assert!(!cloud.proxy.given().is_empty(), "the day was not bad");
    cloud.proxy.heal();
    let vault = cloud.open("bad");
    for (committed, content) in &*kept {
        assert_holds(&vault, committed, &[(b"f", content)]);
    }
}

fn bad_days(days: &[&'static [Fault]], kinds: &[VaultErrorKind]) {
    let Some(cloud) = Cloud::start() else { return };
    cloud.create("bad");
    let mut kept = Vec::new();
    for (day, faults) in days.iter().enumerate() {
        bad_day(&cloud, day as u64 + 1, faults, kinds, &mut kept);
    }
    cloud.assert_sound("bad");
}

#[test]
fn refused_requests_lose_nothing() {
    bad_days(
        &[
            &[Fault::Refused(503, "SlowDown")],
            &[Fault::Refused(500, "InternalError")],
            &[Fault::Refused(429, "TooManyRequests")],
        ],
        &[VaultErrorKind::StoreUnavailable],
    );
}

#[test]
fn torn_connections_lose_nothing() {
    bad_days(
        &[
            &[Fault::CutBeforeEffect],
            &[Fault::CutAfterEffect],
            &[Fault::TornUpload],
            &[Fault::TornAnswer],
            &[Fault::TornAnswer, Fault::CutAfterEffect, Fault::Refused(503, "SlowDown")],
        ],
        &[VaultErrorKind::StoreUnavailable],
    );
}

#[test]
fn requests_that_run_out_of_time_lose_nothing_whether_or_not_they_had_an_effect() {
    bad_days(&[&[Fault::Silent], &[Fault::SilentAfterEffect]], &[VaultErrorKind::StoreUnavailable]);
}

#[test]
fn bodies_of_the_wrong_length_are_noticed_and_lose_nothing() {
    // Where the answer itself says that it is whole, only the content tells that it is not.
    bad_days(&[&[Fault::ShortBody]], &[VaultErrorKind::StoreUnavailable, VaultErrorKind::Damaged]);
}

#[test]
fn a_vault_whose_creation_was_answered_into_the_void_keeps_its_key() {
    let Some(cloud) = Cloud::start() else { return };
    for (position, fault) in
        [Fault::CutAfterEffect, Fault::SilentAfterEffect, Fault::TornAnswer].into_iter().enumerate()
    {
        let prefix = format!("new-{position}");
        let mut left = 1;
        cloud.proxy.plan(move |asked: Asked<'_>| {
            let hit = asked.method == "PUT" && asked.target.ends_with("/config") && left > 0;
            left -= usize::from(hit);
            hit.then_some(fault)
        });
        let created = Vault::create(cloud.faulty(&prefix), &Password::new(PASSWORD), FAST, options());
        assert_eq!(cloud.proxy.given().len(), 1, "{fault:?}");
        if let Err(error) = &created {
            assert_told(error, &[VaultErrorKind::StoreUnavailable]);
        }
        let opened = cloud.open(&prefix);
        capture_files(&opened, &[(b"f", b"content")]).unwrap();
        cloud.assert_sound(&prefix);
        assert!(created.is_ok(), "{fault:?}: {created:?}");
    }
}

#[test]
fn a_server_that_accepts_and_never_answers_is_given_up_in_time() {
    let Some(cloud) = Cloud::start() else { return };
    let vault = cloud.create("bad");
    let committed = capture_files(&vault, &[(b"f", b"content")]).unwrap();
    cloud.proxy.plan(|_| Some(Fault::Silent));
    let store = cloud.faulty("bad");
    let name = "ab".repeat(32);
    let calls: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("open", &|| open_at(Arc::clone(&store)).map(drop)),
        ("list", &|| store.list(FileKind::Snapshot).map(drop)),
        ("upload", &|| store.write(FileKind::Pack, &name, &noise(1, 100_000))),
        ("remove", &|| store.remove(FileKind::Pack, &name)),
    ];
    for (name, call) in calls {
        let begin = Instant::now();
        let error = call().unwrap_err();
        assert_told(&error, &[VaultErrorKind::StoreUnavailable]);
        let waited = begin.elapsed();
        eprintln!("{name}: {waited:?}: {error}");
        // A second round of attempts where the first was over within seconds, and a busy machine.
        assert!(waited < SHORT.retries + SHORT.request + Duration::from_secs(30), "{name}: {waited:?}");
    }
    cloud.proxy.heal();
    assert_holds(&open_at(store).unwrap(), &committed, &[(b"f", b"content")]);
}

#[test]
fn credentials_that_are_withdrawn_in_the_middle_of_a_capture_are_named_at_once_and_the_next_try_works() {
    let Some(cloud) = Cloud::start() else { return };
    let kept = capture_files(&cloud.create("bad"), &[(b"f", b"kept")]).unwrap();
    let vault = open_at(cloud.faulty("bad")).unwrap();
    let lock = vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
    cloud.proxy.plan(|asked| (asked.number >= 1).then_some(Fault::Refused(403, "InvalidAccessKeyId")));
    let begin = Instant::now();
    let capture = begin_capture(&vault);
    let error = capture
        .and_then(|capture| {
            let mut root = capture.directory();
            root.add_file(b"f", &file_meta(), &stream(&capture, &noise(1, 300_000), CONTENT_DEFINED)?)?;
            commit(capture, root.finish()?)
        })
        .unwrap_err();
    assert_told(&error, &[VaultErrorKind::StoreRefused]);
    assert!(error.sentence().contains("credentials") && error.hint().unwrap().contains("access key"), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(10), "a refusal is not tried again");
    cloud.proxy.heal();
    lock.release().unwrap();
    let next = capture_files(&vault, &[(b"f", &noise(1, 300_000))]).unwrap();
    assert_holds(&vault, &next, &[(b"f", &noise(1, 300_000))]);
    assert_holds(&vault, &kept, &[(b"f", b"kept")]);
    cloud.assert_sound("bad");
}

fn begin_capture(vault: &Vault) -> Result<crate::Capture> {
    vault.capture(draft(), None, Arc::new(Events::default()))
}

#[test]
fn a_listing_may_be_slow_and_one_that_never_ends_is_told() {
    let Some(cloud) = Cloud::start() else { return };
    let committed = capture_files(&cloud.create("bad"), &[(b"f", b"kept")]).unwrap();
    cloud.proxy.plan(|asked| asked.is_listing().then_some(Fault::Late(700)));
    let vault = open_at(cloud.faulty("bad")).unwrap();
    assert_holds(&vault, &committed, &[(b"f", b"kept")]);
    cloud.proxy.plan(|asked| asked.is_listing().then_some(Fault::Late(60_000)));
    assert_told(&vault.snapshots().unwrap_err(), &[VaultErrorKind::StoreUnavailable]);
    // What needs no listing goes on.
    assert_holds(&vault, &committed, &[(b"f", b"kept")]);
    cloud.proxy.heal();
    assert_eq!(vault.snapshots().unwrap().snapshots.len(), 1);
}

#[test]
fn a_refusal_is_one_request_and_a_busy_server_is_asked_as_often_as_the_patience_says() {
    let Some(cloud) = Cloud::start() else { return };
    capture_files(&cloud.create("bad"), &[(b"f", b"kept")]).unwrap();
    let store = cloud.faulty("bad");
    let name = "ab".repeat(32);
    let calls: [(&str, &dyn Fn() -> Result<()>); 4] = [
        ("read", &|| store.read(FileKind::Config, "").map(drop)),
        ("list", &|| store.list(FileKind::Snapshot).map(drop)),
        ("upload", &|| store.write(FileKind::Pack, &name, b"pack")),
        ("remove", &|| store.remove(FileKind::Pack, &name)),
    ];
    for (name, call) in calls {
        for (fault, kind, requests) in [
            (Fault::Refused(403, "AccessDenied"), VaultErrorKind::StoreRefused, 1..=1),
            (Fault::Refused(403, "InvalidAccessKeyId"), VaultErrorKind::StoreRefused, 1..=1),
            (Fault::Refused(400, "ExpiredToken"), VaultErrorKind::StoreRefused, 1..=1),
            (Fault::Refused(404, "NoSuchBucket"), VaultErrorKind::StoreRefused, 1..=1),
            // Fewer where the machine is so busy that the time for all attempts is over first.
            (Fault::Refused(503, "SlowDown"), VaultErrorKind::StoreUnavailable, 2..=SHORT.attempts as u64 + 1),
        ] {
            cloud.proxy.plan(move |_| Some(fault));
            assert_told(&call().unwrap_err(), &[kind]);
            assert!(
                requests.contains(&cloud.proxy.requests()),
                "{name}: {fault:?}: {} requests",
                cloud.proxy.requests()
            );
        }
    }
}
