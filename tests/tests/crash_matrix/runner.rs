//! Runs cells, several at a time: most of a cell is waiting.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cell,
    cells::{Cell, Points},
    ground::Ground,
    results::Results,
    site::{Site, Sources},
    table::{NOT_RUN, Outcome, Table},
    work::Work,
};

/// Sites that live at a time, unless `TRIVAULT_CRASH_SITES` says another number.
const SITES: usize = 4;

fn sites() -> usize {
    std::env::var("TRIVAULT_CRASH_SITES").ok().and_then(|count| count.parse().ok()).unwrap_or(SITES).max(1)
}

/// Which points these kinds of work pass.
///
/// # Panics
/// When one passes none.
pub fn points(works: &[Work], results: &Results) -> Points {
    let known = |work: &Work| results.points(*work).map(|points| (*work, points));
    let found: Mutex<Points> = Mutex::new(works.iter().filter_map(known).collect());
    let missing: Vec<Work> = works.iter().copied().filter(|work| results.points(*work).is_none()).collect();
    in_sites(
        missing,
        |work| (Ground::ALL[0], work.sources()),
        |site, work| {
            let Some(site) = site.get() else { return };
            let points = cell::points(site, *work);
            assert!(!points.is_empty(), "{work} passes no point");
            results.note_points(*work, &points);
            found.lock().unwrap().insert(*work, points);
        },
    );
    found.into_inner().unwrap()
}

/// Runs these cells, or as many of them as may begin when it is their turn.
pub fn run(cells: Vec<Cell>, results: &Results, may_begin: impl Fn(&Cell) -> bool + Sync) -> Table {
    let mut table = Table::default();
    let mut missing = Vec::new();
    for cell in cells {
        table.failed_before(&cell, results.failures_of(&cell));
        match results.of(&cell) {
            Some((outcome, took)) => table.insert(&cell, outcome, took),
            None => {
                table.insert(&cell, Outcome::LeftOut(NOT_RUN), Duration::ZERO);
                missing.push(cell);
            }
        }
    }
    let table = Mutex::new(table);
    in_sites(missing, Cell::site, |site, cell| {
        let started = Instant::now();
        if !may_begin(cell) {
            return table.lock().unwrap().insert(cell, Outcome::LeftOut(NOT_RUN), Duration::ZERO);
        }
        let outcome = one(site, cell);
        let took = started.elapsed();
        println!("{cell}: {outcome} ({took:.1?})");
        if let Outcome::Failed(why) = &outcome {
            println!("{why}");
        }
        results.note(cell, &outcome, took);
        table.lock().unwrap().insert(cell, outcome, took);
    });
    table.into_inner().unwrap()
}

fn one(site: &mut Slot, cell: &Cell) -> Outcome {
    let tried = catch_unwind(AssertUnwindSafe(|| site.get().map(|site| cell::run(site, cell.work, &cell.halt))));
    match tried {
        // Such as a heartbeat of work that was over before its first one.
        Ok(Some(words)) if words == cell::NOT_REACHED => Outcome::LeftOut(cell::NOT_REACHED),
        Ok(Some(words)) => Outcome::Survived(words),
        Ok(None) => Outcome::LeftOut("not installed"),
        Err(panic) => {
            // A site in which something went wrong is given up.
            site.site = None;
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Failed(text.unwrap_or_else(|| "a panic without words".to_owned()))
        }
    }
}

/// Where one thread keeps its site.
struct Slot {
    kind: (Ground, Sources),
    site: Option<Site>,
}

impl Slot {
    /// `None` where what it needs is left out on purpose.
    fn get(&mut self) -> Option<&mut Site> {
        if self.site.is_none() {
            self.site = Site::new(self.kind.0, self.kind.1);
        }
        self.site.as_mut()
    }
}

/// Does all of this in some threads, each of which keeps its site as long as there is something to do in it.
fn in_sites<T: Send>(
    all: Vec<T>,
    kind_of: impl Fn(&T) -> (Ground, Sources) + Sync,
    run: impl Fn(&mut Slot, &T) + Sync,
) {
    let (queue, run, kind_of) = (Mutex::new(all), &run, &kind_of);
    thread::scope(|scope| {
        for _ in 0..sites() {
            scope.spawn(|| {
                let mut slot: Option<Slot> = None;
                loop {
                    let next = {
                        let mut queue = queue.lock().unwrap();
                        let fits = |one: &T| slot.as_ref().is_some_and(|slot| slot.kind == kind_of(one));
                        let index = queue.iter().position(fits).unwrap_or(0);
                        (index < queue.len()).then(|| queue.remove(index))
                    };
                    let Some(one) = next else { return };
                    let kind = kind_of(&one);
                    let mut own = slot.take().filter(|slot| slot.kind == kind).unwrap_or(Slot { kind, site: None });
                    run(&mut own, &one);
                    slot = Some(own);
                }
            });
        }
    });
}
