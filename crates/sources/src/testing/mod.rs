//! An in-memory stand-in for the vault, and the round-trip suite that every kind of source passes.
//!
//! [`MemoryStore`] keeps chunks by their SHA-256, so that a test can see what a second capture would add. A
//! [`MemorySink`] is the [`CaptureSink`](crate::CaptureSink) of one capture and becomes a [`MemoryPart`]; a
//! [`MemoryReader`] is the [`PartReader`](crate::PartReader) over one. Both can be told to fail or to be cancelled at a
//! chosen byte. The sink is strict where the contract is: it refuses wrong order, names and nesting.
//!
//! It is public for the tests of this workspace only and promises nothing to others.

mod reader;
mod sink;
mod store;
pub mod suite;
mod tree;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use reader::MemoryReader;
pub use sink::{Event, MemorySink};
pub use store::{MemoryPart, MemoryStore};

/// A test that panicked elsewhere must not hide its own message behind a poisoned lock.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
