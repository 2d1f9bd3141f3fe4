//! A captured database on its way back.

use super::settings::Settings;
use crate::{
    ErrorKind, Interrupted, PartReader, PartRestorePlan, PartRestoreRequest, RestoreOutcome, Result, SourceError,
};

pub(super) fn plan(_: &Settings, _: &dyn PartReader, _: &PartRestoreRequest) -> Result<PartRestorePlan> {
    Err(SourceError::new(ErrorKind::Unsupported, "PostgreSQL cannot be restored yet."))
}

pub(super) fn restore(_: &Settings, _: &dyn PartReader, _: &PartRestorePlan) -> Result<RestoreOutcome> {
    Err(SourceError::new(ErrorKind::Unsupported, "PostgreSQL cannot be restored yet."))
}

pub(super) fn resume(_: &Settings, _: &PartRestorePlan) -> Result<Interrupted> {
    Err(SourceError::new(ErrorKind::Unsupported, "PostgreSQL cannot be restored yet."))
}
