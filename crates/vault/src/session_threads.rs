//! The threads of a session: workers turn plain blobs into sealed ones, uploaders bring full packs to the store.

use crate::{
    blob::BlobEncoder,
    core::Core,
    error::{Result, VaultError},
    interrupt::Interrupt,
    open_pack::{OpenPack, StoredPack},
    pack::BlobKind,
    session::{DATA_PACKS, Job, MAX_UPLOADS, Session, State, UPLOADERS},
};
use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

/// An index file is written after so many blobs ...
const INDEX_BLOBS: usize = 50_000;
/// ... or this long after the last one, so that a retry after a crash finds what was stored.
const INDEX_AGE: Duration = Duration::from_secs(300);

/// Starts all threads. They end when the session closes.
pub(crate) fn start(session: &Arc<Session>) -> Result<()> {
    let workers = session.core.options.workers.max(1);
    // Made here, so that a machine without memory fails the capture at its start.
    let encoders: Vec<BlobEncoder> =
        (0..workers).map(|_| BlobEncoder::new(session.core.options.zstd_level)).collect::<Result<_>>()?;
    let mut result = Ok(());
    for encoder in encoders {
        let session = Arc::clone(session);
        result = result.and(spawn("vault-seal", move || work(&session, encoder)));
    }
    for _ in 0..UPLOADERS {
        let session = Arc::clone(session);
        result = result.and(spawn("vault-store", move || upload_until_called_off(&session)));
    }
    if result.is_err() {
        session.leave();
    }
    result
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<()> {
    match std::thread::Builder::new().name(name.to_owned()).spawn(run) {
        Ok(_) => Ok(()),
        Err(error) => Err(VaultError::internal("the machine gives no more threads").with_source(error)),
    }
}

/// Fails the session when its thread ends by a panic: nobody shall wait for what will not come.
struct Alarm<'a> {
    session: &'a Session,
    /// Whether this thread counts as writing now.
    writing: bool,
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut state = self.session.state();
            state.writing -= usize::from(self.writing);
            state.fail(VaultError::internal("a thread of the vault's writer has panicked"));
            drop(state);
            self.session.progress.notify_all();
        }
    }
}

fn work(session: &Session, mut encoder: BlobEncoder) {
    let _alarm = Alarm { session, writing: false };
    while let Some(job) = next_job(session) {
        if let Err(error) = seal(session, &mut encoder, job) {
            session.state().fail(error);
            session.progress.notify_all();
        }
        encoder.trim();
    }
}

fn next_job(session: &Session) -> Option<Job> {
    let mut state = session.state();
    loop {
        if state.closing {
            return None;
        }
        // While packs wait for the store, more sealed blobs would only pile up.
        if state.uploads.len() <= MAX_UPLOADS
            && let Some(job) = state.queue.pop_front()
        {
            return Some(job);
        }
        let signal = if state.queue.is_empty() { &session.work } else { &session.progress };
        state = session.wait(signal, state);
    }
}

fn seal(session: &Session, encoder: &mut BlobEncoder, job: Job) -> Result<()> {
    let Job { kind, id, plain, mut permit, generation, owner } = job;
    let Core { key, .. } = &*session.core;
    let encoded = encoder.encode(key, kind, &id, &plain)?;
    permit.shrink(encoded.sealed.len() as u64);
    let bytes = encoded.sealed.len() as u64;
    let mut state = session.state();
    if state.closing || state.failure.is_some() {
        return Ok(());
    }
    let slot = if kind == BlobKind::Tree { DATA_PACKS } else { usize::from(encoded.sealed[0]) % DATA_PACKS };
    let mut pack = match state.open[slot].take() {
        Some(pack) => pack,
        None => {
            let buffer = if kind == BlobKind::Data { state.pack_buffers.pop() } else { None };
            OpenPack::new(kind, buffer.unwrap_or_default())
        }
    };
    pack.add(id, encoded.sealed, encoded.uncompressed, generation, permit)?;
    if pack.is_full() {
        state.uploads.push_back(pack);
        session.upload.notify_one();
    } else {
        state.open[slot] = Some(pack);
    }
    state.queued_bytes = state.queued_bytes.saturating_sub(plain.len());
    state.with_workers.subtract(generation, 1);
    state.give_back_blob(plain);
    drop(state);
    session.progress.notify_all();
    owner.added().stored.fetch_add(bytes, Ordering::Relaxed);
    owner.stored(bytes);
    Ok(())
}

/// What a thread of the session stores is everybody's, until the last capture has gone.
fn upload_until_called_off(session: &Arc<Session>) {
    let asking = Arc::clone(session);
    let is_called_off = move || {
        let ending = asking.state().ending.clone();
        ending.is_some_and(|ending| ending.is_due()).then_some(Duration::MAX)
    };
    Interrupt::new(is_called_off).scope(|| upload(session));
}

fn upload(session: &Session) {
    let mut alarm = Alarm { session, writing: false };
    let mut state = session.state();
    while !state.closing {
        // A commit that waits for its index goes before the packs of others, which may never cease to come.
        let index_first = state.index_wanted && index_is_due(&state);
        if !index_first && let Some(pack) = state.uploads.pop_front() {
            state.writing += 1;
            alarm.writing = true;
            drop(state);
            session.progress.notify_all();
            let stored = pack.store(&*session.core.backend, &session.core.key);
            state = session.state();
            state.writing -= 1;
            alarm.writing = false;
            take_in(&mut state, stored);
            session.progress.notify_all();
        } else if index_is_due(&state) {
            drop(state);
            // A failure is kept in the state, where every capture meets it.
            let _ = session.write_index();
            state = session.state();
        } else {
            state = session.wait(&session.upload, state);
        }
    }
    drop(state);
    session.progress.notify_all();
}

fn take_in(state: &mut State, stored: Result<(StoredPack, Vec<u8>)>) {
    match stored {
        Ok((pack, buffer)) => {
            for generation in &pack.generations {
                state.uploaded.add(*generation, 1);
            }
            state.stored.push(pack);
            state.give_back_pack(buffer);
        }
        Err(error) => state.fail(error),
    }
}

fn index_is_due(state: &State) -> bool {
    !state.stored.is_empty()
        && state.failure.is_none()
        && (state.index_wanted
            || state.indexed_at.elapsed() >= INDEX_AGE
            || state.stored.iter().map(|pack| pack.generations.len()).sum::<usize>() >= INDEX_BLOBS)
}
