//! Restores.

use super::{Engine, unfinished};
use crate::domain::*;

impl Engine {
    /// What a restore would do; touches nothing.
    pub async fn preview_restore(&self, caller: &Caller, request: &StartRestore) -> Result<RestorePreview> {
        let _ = (caller, request);
        unfinished()
    }

    /// Enqueues a restore. Everything that can be refused without reading the store is refused here.
    ///
    /// # Errors
    /// `NotReady(Part)` (not succeeded), `PasscodeRequired`, `WrongPasscode`, `SourceDetached`, `InUse(Source)` (another
    /// restore into it is queued or running), `AlreadyExists(Source)` for a new source.
    pub async fn start_restore(&self, caller: &Caller, request: StartRestore) -> Result<Job> {
        let _ = (caller, request);
        unfinished()
    }
}
