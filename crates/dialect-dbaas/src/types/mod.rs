//! Wire types. They know nothing of the engine; `mapping.rs` fills them.

pub mod access;
pub mod addon;
pub mod backup;
pub mod database;
pub mod error;
pub mod timestamp;

pub use self::{access::*, addon::*, backup::*, database::*, error::*, timestamp::*};
