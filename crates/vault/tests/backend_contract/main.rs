//! What every place for a vault must promise, tried on each of them: a local folder, one with lazy pack folders, an S3 prefix.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod files;
mod places;
mod stores;

/// Runs each contract on each place, as tests whose names say both.
macro_rules! on_every_place {
    ($($contract:path => $name:ident),+ $(,)?) => {
        mod a_local_folder { $(#[test] fn $name() { $contract(&crate::places::local()); })+ }
        mod a_lazy_local_folder { $(#[test] fn $name() { $contract(&crate::places::lazy()); })+ }
        mod an_s3_prefix { $(#[test] fn $name() { if let Some(place) = crate::places::s3() { $contract(&place); } })+ }
    };
}

on_every_place! {
    crate::files::round_trip => gives_back_what_was_written,
    crate::files::listing => lists_exactly_the_files_of_a_kind,
    crate::files::missing => tells_a_missing_file_from_a_broken_store,
    crate::files::ranges => reads_ranges_exactly_and_notices_a_short_file,
    crate::files::creation => lets_exactly_one_of_many_racing_creators_win,
    crate::files::removal => removes_files_and_does_not_mind_missing_ones,
    crate::files::names => refuses_names_that_are_not_digests,
    crate::files::parallel => serves_several_threads_at_once,
    crate::stores::small_files => keeps_the_small_files_of_a_store,
    crate::stores::directories => lists_and_removes_vaults_of_a_store,
    crate::stores::probe => passes_a_probe_and_leaves_nothing_behind,
    crate::stores::locations => names_places_that_restic_understands,
}
