//! Measurements: each prints our figures beside those of a peer from the same run. Not part of the product.

pub mod inputs;
pub mod measure;
pub mod postgresql;
pub mod queue;
pub mod vault;
