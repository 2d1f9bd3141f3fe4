//! The download: the custom-format archive in a `.tar.gz`.

use std::sync::Arc;

use crate::{ErrorKind, PartReader, RandomRead, Result, SourceError, Timestamp};

pub(super) fn download(_: Arc<dyn PartReader>, _: &str, _: Timestamp) -> Result<Box<dyn RandomRead>> {
    Err(SourceError::new(ErrorKind::Unsupported, "PostgreSQL archives cannot be downloaded yet."))
}
