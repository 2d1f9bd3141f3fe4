//! How long maintenance takes; run on purpose: `cargo nextest run -p trivault-vault figures --run-ignored all --no-capture`.

use super::{
    prune::{assert_sound, bytes_below, prune},
    scene::*,
};
use crate::{CheckOptions, ReadSubset};
use std::time::Instant;

const FILES: u64 = 50;
const FILE: usize = 10_000_000;

#[test]
#[ignore = "a measurement of a minute and 1 GB of disk"]
fn a_prune_of_half_a_gigabyte_of_which_half_is_not_needed() {
    let scene = Scene::new();
    let names: Vec<Vec<u8>> = (0..FILES).map(|number| format!("{number:02}").into_bytes()).collect();
    let content: Vec<Vec<u8>> = (0..FILES).map(|seed| noise(seed, FILE)).collect();
    let files: Vec<(&[u8], &[u8])> =
        names.iter().zip(&content).map(|(name, content)| (name.as_slice(), content.as_slice())).collect();
    let timed = |what: &str, run: &mut dyn FnMut()| {
        let began = Instant::now();
        run();
        let resident = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: usize = resident.split(' ').nth(1).unwrap().parse().unwrap();
        eprintln!("{what}: {:?}, {} MB resident", began.elapsed(), pages * 4096 / 1_000_000);
    };
    let mut all = None;
    timed("capture of 500 MB", &mut || all = Some(capture_files(&scene.vault, &files).unwrap()));
    let half: Vec<(&[u8], &[u8])> = files.iter().copied().step_by(2).collect();
    timed("capture of the half that stays", &mut || {
        capture_files(&scene.vault, &half).unwrap();
    });
    drop(content);
    scene.vault.forget(&all.unwrap().snapshot).unwrap();
    timed("check, structure", &mut || {
        drop(scene.vault.check(&CheckOptions { read: ReadSubset::None }, &Calm).unwrap())
    });
    timed("check, every byte", &mut || {
        drop(scene.vault.check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap())
    });
    timed("prune that copies half", &mut || eprintln!("{}", prune(&scene.vault, 0).plan));
    timed("prune that deletes", &mut || eprintln!("{}", prune(&scene.vault, 25).plan));
    eprintln!("{} bytes are left", bytes_below(&scene.path().join("data")));
    assert_sound(&scene.path());
}
