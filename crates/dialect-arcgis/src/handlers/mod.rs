//! One file per resource. Each handler: open the exchange, call the engine, answer.

pub mod backups;
pub mod jobs;
pub mod recovery;
pub mod root;
pub mod sign_in;
pub mod stores;
pub mod token;

/// Opens the exchange or answers why not.
macro_rules! open {
    ($request:expr, $body:expr) => {
        match $crate::exchange::Exchange::open($request, $body).await {
            Ok(exchange) => exchange,
            Err(response) => return response,
        }
    };
}
pub(crate) use open;
