//! Log lines: text for people, JSON for machines; both to standard error, so that output stays clean.

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt, util::SubscriberInitExt};

use crate::cli::args::LogFormat;

/// # Errors
/// A sentence when `filter` cannot be understood.
pub fn start(filter: Option<&str>, format: LogFormat, default_filter: &str) -> Result<(), String> {
    let text = filter.unwrap_or(default_filter);
    let filter = EnvFilter::try_new(text).map_err(|error| {
        format!("The log filter `{text}` cannot be understood: {error}. Try `info` or `trivault=debug`.")
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let started = match format {
        LogFormat::Text => registry.with(fmt::layer().with_writer(std::io::stderr).with_target(false)).try_init(),
        LogFormat::Json => registry
            .with(fmt::layer().json().flatten_event(true).with_current_span(true).with_writer(std::io::stderr))
            .try_init(),
    };
    started.map_err(|error| format!("Logging could not be started: {error}."))
}
