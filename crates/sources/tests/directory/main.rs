//! Directories: captured, downloaded, restored and compared byte by byte with all their metadata.

#![allow(clippy::unwrap_used)]

mod capture;
mod changing;
mod crashes;
mod download;
mod merge;
mod refusals;
mod restore;
mod reuse;
mod speed;
mod suite;
mod support;
mod unprivileged;
