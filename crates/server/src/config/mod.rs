//! What the server runs with: embedded defaults, then the configuration file, then the environment and the command line.

pub mod care;
pub mod file;
pub mod listeners;
pub mod maintenance;
pub mod resolve;
pub mod s3_patience;
pub mod secret;
pub mod source_argument;
pub mod source_options;
pub mod source_password;
pub mod stores;
pub mod suggestion;

pub use listeners::Listener;
pub use resolve::{Configuration, Database, zone};
