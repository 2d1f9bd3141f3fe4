//! Downloads of parts.

use super::{Engine, unfinished};
use crate::domain::*;

/// An opened download; reads come from a thread of its own.
pub struct Download {
    /// Bytes; equals the part's `download_size`.
    pub length: u64,
    /// Strong entity tag without quotes; changes when the bytes would.
    pub etag: String,
}

impl Download {
    /// The bytes of `range` (within `0..length`), in pieces of at most 256 KiB. Ends with an error, never short, when the
    /// store fails in the middle. At most one stream per `Download`.
    pub fn stream(
        self,
        range: std::ops::Range<u64>,
    ) -> impl futures_util::Stream<Item = Result<bytes::Bytes>> + Send + 'static {
        let _ = range;
        futures_util::stream::empty()
    }
}

impl Engine {
    /// Opens the `.tar.gz` of a part: the store was reached and the first bytes were read when this returns.
    /// `stem` names the member (`[A-Za-z0-9._-]{1,90}`); the same stem gives the same bytes for ever.
    ///
    /// # Errors
    /// `NotReady(Part)`, `PasscodeRequired`, `StoreUnavailable`, `Damaged`, `Unsupported` (the kind has no download).
    pub async fn open_download(&self, caller: &Caller, part: PartId, stem: &str) -> Result<Download> {
        let _ = (caller, part, stem);
        unfinished()
    }
}
