//! Tests of the vault as a whole, on local folders.

mod capture;
mod check;
mod concurrency;
mod damage;
mod failures;
mod locks;
mod restic;
mod scene;
