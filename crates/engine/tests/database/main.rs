//! One contract for the metadata database, run on SQLite and on a real PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used)]
// A list is compared with a list, of one element too.
#![allow(clippy::cloned_ref_to_slice_refs)]

mod access;
mod backups;
mod care;
mod catalogue;
mod claims;
mod endings;
mod fixtures;
mod merges;
mod names;
mod parity;
mod passcode_vaults;
mod queue;
mod schedule;

/// Each case is two tests: `sqlite::name` and `postgres::name`.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    super::$name(crate::fixtures::Place::sqlite().await).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $name() {
                    if let Some(place) = crate::fixtures::Place::postgres().await {
                        super::$name(place).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use contract;
