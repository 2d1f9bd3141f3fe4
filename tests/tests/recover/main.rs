//! The store outlives the server: everything is deleted but a store and its secret, and a server is rebuilt from them.

#![allow(clippy::unwrap_used, reason = "test code")]

mod everything;
mod formats;
mod interrupted;
mod lost;
mod refusals;
mod source_password;
mod stores;
