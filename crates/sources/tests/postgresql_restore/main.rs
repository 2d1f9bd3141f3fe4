//! Captured PostgreSQL databases on their way back, on real servers.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod crashes;
mod faults;
mod fit;
mod limits;
mod merge;
mod partial;
mod refusals;
mod replace;
mod speed;
mod support;
mod surroundings;
mod whole;
