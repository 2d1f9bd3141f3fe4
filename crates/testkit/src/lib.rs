//! Tools for tests alone: throwaway servers, other programs as second opinions, and the rule about what may be absent.
//!
//! Depends on no crate that it helps to test. A tool that is absent fails the test with the command that installs it, unless
//! `TRIVAULT_TEST_SKIP` names it: see [`require`].

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod authority;
pub mod fault_proxy;
pub mod gateway;
pub mod openapi;
pub mod postgres;
pub mod proxy;
pub mod require;
pub mod restic;
pub mod s3;
pub mod trees;
pub mod writer;
