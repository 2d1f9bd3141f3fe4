//! Tests of the vault as a whole, on local folders.

mod capture;
mod check;
mod concurrency;
mod damage;
mod failures;
mod heal;
mod locks;
mod power_cut;
mod prune;
mod prune_beside;
mod prune_crashes;
mod prune_figures;
mod prune_random;
mod replaced;
mod restic;
mod s3;
mod scene;
