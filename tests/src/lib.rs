//! Suites that cross crates, against the real binary: scenarios per dialect, cross-dialect, crash, browser, architecture.
//!
//! This library is what they share: a gateway with sample sources, a client that validates every answer against the
//! committed OpenAPI documents, and comparisons.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a failed expectation is a failed test")]

pub mod client;
pub mod compare;
pub mod sample;
pub mod world;

pub use client::{Answer, Client};
pub use world::World;
