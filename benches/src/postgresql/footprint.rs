//! Memory of a program and of the tools that it runs, looked at while it runs.

use std::{
    collections::HashMap,
    error::Error,
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Between two looks. Each reads a file of every process of the machine: more often, and it would slow what it looks at.
const INTERVAL: Duration = Duration::from_millis(500);
/// `/proc/PID/statm` counts pages.
const PAGE: u64 = 4096;

/// Largest resident memory in bytes, as far as looking now and then tells.
#[derive(Debug, Clone, Copy, Default)]
pub struct Footprint {
    /// Of the one process of ours that had most; what the system says at its end is exact.
    pub gateway: u64,
    /// Of everything that descends from this process, at one moment.
    pub together: u64,
}

impl Footprint {
    pub fn max(self, other: Self) -> Self {
        Self { gateway: self.gateway.max(other.gateway), together: self.together.max(other.together) }
    }
}

/// Runs `work`, and looks at all descendants of this process meanwhile.
pub fn during<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<(T, Footprint), Box<dyn Error>> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut largest = Footprint::default();
            while !done.load(Ordering::Relaxed) {
                largest = largest.max(look());
                std::thread::sleep(INTERVAL);
            }
            largest
        });
        let outcome = work();
        done.store(true, Ordering::Relaxed);
        let footprint = watcher.join().map_err(|_| "the watcher of the memory stopped")?;
        Ok((outcome?, footprint))
    })
}

fn look() -> Footprint {
    let mut processes: HashMap<u32, (u32, String)> = HashMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(')') else { continue };
        let name = head.split_once('(').map(|(_, name)| name.to_owned()).unwrap_or_default();
        let Some(parent) = tail.split_whitespace().nth(1).and_then(|text| text.parse().ok()) else { continue };
        processes.insert(id, (parent, name));
    }
    let mut footprint = Footprint::default();
    for (id, (_, name)) in &processes {
        // The server is a child of this bench too, and is on nobody's account.
        if name == "postgres" || !descends(*id, &processes) {
            continue;
        }
        let resident = fs::read_to_string(format!("/proc/{id}/statm")).ok();
        let pages = resident.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
        let bytes = pages.unwrap_or_default() * PAGE;
        footprint.together += bytes;
        if name == "trivault" {
            footprint.gateway = footprint.gateway.max(bytes);
        }
    }
    footprint
}

fn descends(id: u32, processes: &HashMap<u32, (u32, String)>) -> bool {
    let own = std::process::id();
    let mut at = id;
    while let Some((parent, _)) = processes.get(&at) {
        if *parent == own {
            return true;
        }
        at = *parent;
    }
    false
}
