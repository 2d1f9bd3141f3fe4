//! Restores.

use super::{Engine, start_restore};
use crate::domain::*;

impl Engine {
    /// What a restore would do; touches nothing.
    pub async fn preview_restore(&self, caller: &Caller, request: &StartRestore) -> Result<RestorePreview> {
        start_restore::preview(self.inner(), caller, request).await
    }

    /// Enqueues a restore. Everything that can be refused without reading the store is refused here.
    ///
    /// # Errors
    /// `NotReady(Part)` (not succeeded), `PasscodeRequired`, `WrongPasscode`, `SourceDetached`, `InUse(Source)` (another
    /// restore into it is queued or running), `AlreadyExists(Source)` for a new source.
    pub async fn start_restore(&self, caller: &Caller, request: StartRestore) -> Result<Job> {
        start_restore::start(self.inner(), caller, request).await
    }
}
