//! Tests of the vault as a whole, on local folders.

mod capture;
mod concurrency;
mod damage;
mod failures;
mod locks;
mod restic;
mod scene;
