//! One consistent state of the database into the sink.

use super::settings::Settings;
use crate::{CaptureManifest, CaptureSink, ErrorKind, Result, SourceError};

pub(super) fn capture(_: &Settings, _: &dyn CaptureSink) -> Result<CaptureManifest> {
    Err(SourceError::new(ErrorKind::Unsupported, "PostgreSQL cannot be captured yet."))
}
