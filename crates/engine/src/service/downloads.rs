//! Downloads of parts.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use futures_util::Stream;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;
use trivault_sources::RandomRead;

use super::{Engine, blocking};
use crate::{
    capture::{JobPart, NoEvents, instant},
    domain::*,
    failure::from_source,
    kinds::{driver_for, open_for_reading, reading_vault, restore_part},
};

/// Bytes of one piece of a stream.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that wait for a slow client.
const PIECES_AHEAD: usize = 2;
/// Bytes that are read before a download counts as opened.
const FIRST_BYTES: usize = 64 << 10;
/// Bytes of a file's name in a download.
const LONGEST_STEM: usize = 90;
/// Hex digits of an entity tag.
const ETAG_DIGITS: usize = 40;

/// An opened download; reads come from a thread of its own.
pub struct Download {
    /// Bytes; equals the part's `download_size`.
    pub length: u64,
    /// Strong entity tag without quotes; changes when the bytes would.
    pub etag: String,
    reader: Box<dyn RandomRead>,
}

impl Download {
    /// The bytes of `range` (within `0..length`), in pieces of at most 256 KiB. Ends with an error, never short, when the
    /// store fails in the middle. At most one stream per `Download`. Must be called inside a tokio runtime.
    pub fn stream(self, range: Range<u64>) -> impl Stream<Item = Result<Bytes>> + Send + 'static {
        let Self { length, etag: _, reader } = self;
        let range = range.start.min(length)..range.end.min(length);
        let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
        tokio::task::spawn_blocking(move || send_pieces(reader, range, &sender));
        futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|piece| (piece, receiver))
        })
    }
}

/// Reads the range and sends it; ends when the client has gone.
fn send_pieces(mut reader: Box<dyn RandomRead>, range: Range<u64>, sender: &mpsc::Sender<Result<Bytes>>) {
    let mut at = range.start;
    while at < range.end {
        let wanted = usize::try_from(range.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let piece = read_exactly(reader.as_mut(), at, wanted);
        let failed = piece.is_err();
        if sender.blocking_send(piece).is_err() || failed {
            return;
        }
        at += wanted as u64;
    }
}

fn read_exactly(reader: &mut dyn RandomRead, offset: u64, length: usize) -> Result<Bytes> {
    let mut buffer = vec![0; length];
    let mut filled = 0;
    while filled < length {
        let read = reader.read_at(offset + filled as u64, &mut buffer[filled..]).map_err(from_source)?;
        if read == 0 {
            return Err(Error::new(ErrorCode::Damaged, "The download ends earlier than it was recorded."));
        }
        filled += read;
    }
    Ok(buffer.into())
}

impl Engine {
    /// Opens the `.tar.gz` of a part: the store was reached and the first bytes were read when this returns.
    /// `stem` names the member (`[A-Za-z0-9._-]{1,90}`); the same stem gives the same bytes for ever.
    ///
    /// # Errors
    /// `NotReady(Part)`, `PasscodeRequired`, `StoreUnavailable`, `Damaged`, `Unsupported` (the kind has no download).
    pub async fn open_download(&self, caller: &Caller, part: PartId, stem: &str) -> Result<Download> {
        check_stem(stem)?;
        let inner = self.inner();
        let missing = || Error::not_found(Noun::Part, "The backup is not in the catalogue.");
        let backup = inner.db.backup_of_part(part).await?.ok_or_else(missing)?;
        let part = backup.parts.iter().find(|found| found.id == part).ok_or_else(missing)?.clone();
        match caller.principal.scope {
            Scope::Download(only) if only == part.id => {}
            Scope::Everything | Scope::Source(_) | Scope::Download(_) => caller.require_source(part.source)?,
        }
        caller.require(Role::Operator)?;
        if part.state != BackupState::Succeeded {
            return Err(Error::new(
                ErrorCode::NotReady(Noun::Part),
                "The backup is not finished, so it cannot be downloaded.",
            ));
        }
        if backup.protected {
            return Err(Error::new(ErrorCode::PasscodeRequired, "The backup is protected by a passcode.")
                .hint("Restore it with its passcode; a download has no place for it."));
        }
        let length = part.download_size.ok_or_else(|| {
            let sentence = format!("Sources of the kind {} have no download.", part.source_kind);
            Error::new(ErrorCode::Unsupported, sentence)
        })?;
        let config = restore_part::config_of(inner, &part).await?;
        let (store, row) = reading_vault(inner, &part).await?;
        let stores = inner.db.stores().await?;
        let (inner, stem) = (Arc::clone(inner), stem.to_owned());
        let modified = instant(backup.point.unwrap_or(backup.created_at));
        blocking(move || {
            let vault = open_for_reading(&inner, &store, &row, None)?;
            let stored = restore_part::open_in(&vault, &part)?;
            let reader = Arc::new(JobPart { part: stored, events: NoEvents });
            let driver = driver_for(&inner, &config, &stores)?;
            let mut reader = driver.download(reader, &stem, modified).map_err(from_source)?;
            if reader.length() != length {
                return Err(Error::new(ErrorCode::Damaged, "The download's length differs from the recorded one."));
            }
            let first = usize::try_from(length).unwrap_or(FIRST_BYTES).min(FIRST_BYTES);
            read_exactly(reader.as_mut(), 0, first)?;
            Ok(Download { length, etag: etag(part.snapshot.as_deref().unwrap_or_default(), &stem), reader })
        })
        .await
    }
}

/// The bytes follow from the snapshot and the stem.
fn etag(snapshot: &str, stem: &str) -> String {
    let mut digits = hex::encode(Sha256::digest(format!("{snapshot}/{stem}")));
    digits.truncate(ETAG_DIGITS);
    digits
}

fn check_stem(stem: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !stem.is_empty() && stem.len() <= LONGEST_STEM && stem.chars().all(plain) {
        return Ok(());
    }
    Err(Error::invalid("The name of a download has 1 to 90 letters, digits, dots, dashes and underscores."))
}
