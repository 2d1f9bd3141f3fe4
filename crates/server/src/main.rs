//! The binary `trivault`.

mod cli;
mod config;
mod logging;
mod ready_file;

fn main() {}
