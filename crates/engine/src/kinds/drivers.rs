//! From a source's row to its driver.

use std::path::PathBuf;

use trivault_sources::{SourceConfig, SourceDriver};

use crate::{
    domain::{Error, ErrorCode, Noun, Result, Source, SourceId, SourceStatus, Store, StoreLocation},
    failure::{JobResult, from_source, in_job},
    run::RunContext,
    service::Inner,
};

/// Opens the driver of a configuration. Our own data directory and stores are never captured.
pub(crate) fn driver_for(inner: &Inner, config: &SourceConfig, stores: &[Store]) -> Result<Box<dyn SourceDriver>> {
    let mut config = config.clone();
    config.never_capture.push(inner.data.path().to_owned());
    config.never_capture.extend(stores.iter().filter_map(|store| match &store.location {
        StoreLocation::Local { path } => Some(PathBuf::from(path)),
        StoreLocation::S3 { .. } => None,
    }));
    trivault_sources::open(&config).map_err(from_source)
}

/// The source, which must be attached, with its driver.
pub(crate) fn attached(context: &RunContext, id: SourceId) -> JobResult<(Source, Box<dyn SourceDriver>)> {
    let source = row(context, id)?;
    if source.status != SourceStatus::Attached {
        let sentence = format!("The source {} is no longer attached.", source.name);
        return Err(Error::new(ErrorCode::SourceDetached, sentence)
            .hint("Put it back into the configuration, or restore into another place.")
            .into());
    }
    let config = context.wait_out(|| context.inner.with_secret(id, source.config.clone()))?;
    let driver = open(context, &config)?;
    Ok((source, driver))
}

pub(crate) fn row(context: &RunContext, id: SourceId) -> JobResult<Source> {
    let found = context.wait_out(|| context.inner.db.source(id))?;
    found.ok_or_else(|| Error::not_found(Noun::Source, "The source is no longer in the catalogue.").into())
}

pub(crate) fn open(context: &RunContext, config: &SourceConfig) -> JobResult<Box<dyn SourceDriver>> {
    let stores = context.wait_out(|| context.inner.db.stores())?;
    in_job(driver_for(&context.inner, config, &stores))
}
