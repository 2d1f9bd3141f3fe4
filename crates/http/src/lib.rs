//! Shared HTTP plumbing: listeners, guards, request ids, limits, downloads. It holds no dialect's words.
//!
//! A dialect implements [`Dialect`] and is served with all others by one actix application on every [`Listener`]
//! ([`Server::start`]). What happens to each request before its handler stands in `front.rs`, in order.

mod application;
pub mod base_url;
pub mod body;
mod caller;
mod dialect;
pub mod downloads;
mod front;
mod guards;
pub mod headers;
mod health;
mod network;
mod options;
mod ownership;
mod routes;
mod server;
mod tls;

pub use application::{Shared, application};
pub use base_url::BaseUrl;
pub use body::RawBody;
pub use caller::{RequestId, caller, client_address, request_id};
pub use dialect::{Dialect, GateFuture, Refusal};
pub use front::{is_this_server, sent_path};
pub use network::Network;
pub use options::{DialectSelection, Limits, Listener, ServerOptions, TlsFiles};
pub use ownership::{Conflict, Ownership};
pub use routes::{Route, register};
pub use server::{Running, Server, StartError};
/// Text that is wiped after use and never printed; for wire types, which do not know the engine.
pub use trivault_engine::SecretText as Secret;
