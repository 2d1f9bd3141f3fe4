//! Second opinions on the format: the stock restic, a writer in Python, rustic_core; and damage of every kind, which must be told and never
//! become wrong bytes or a panic.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod damage;
mod restic_reads_ours;
mod restic_writes;
mod rustic;
mod support;
mod writer;
