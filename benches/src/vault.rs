//! The vault beside the stock restic.

pub mod compare;
pub mod ours;
pub mod peer;
