//! Indexes and keys of large tables, made by sessions that have no rows left to load while others still have.
//!
//! They are made one at a time by each session, and only while another session is at work: what is left when all rows are in is made
//! together with all the rest, by as many sessions as the restore has.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    Result,
    postgresql::{dump, layout::Captured, tools::Tools},
};

use super::{choice::Choice, closure::Graph, objects, plan::Details, run::Run};

/// Tables from so many bytes of rows on. A program is started for each definition, which takes longer than a small table's index.
const LARGE_BYTES: u64 = 16 * 1024 * 1024;

pub(super) struct Early<'a, 'r> {
    run: &'a Run<'r>,
    tools: &'a Tools,
    details: &'a Details,
    /// Definitions of what comes after the rows.
    after: &'a dump::Archive,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Sessions that load rows or make a definition.
    busy: usize,
    /// Those of the largest table come last.
    waiting: Vec<Definition>,
    /// Tables whose rows are all in.
    complete: HashSet<usize>,
    under_way: Vec<Definition>,
    made: BTreeSet<i32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Definition {
    dump_id: i32,
    /// Number in the manifest.
    table: usize,
    /// A constraint locks its table against every other definition; indexes of one table are made side by side.
    alone: bool,
}

impl<'a, 'r> Early<'a, 'r> {
    /// `graph`: of all that was captured; `after`: what of it is to be made when the rows are in.
    pub(super) fn new(
        run: &'a Run<'r>,
        tools: &'a Tools,
        details: &'a Details,
        (graph, after): (&Graph<'_>, &'a dump::Archive),
        captured: &Captured,
        choice: &Choice,
    ) -> Self {
        let waiting = definitions(graph, after, captured, choice);
        Self { run, tools, details, after, state: Mutex::new(State { waiting, ..State::default() }) }
    }

    /// A session begins to load rows.
    pub(super) fn begin(&self) {
        self.state().busy += 1;
    }

    /// All rows of this table are in, and nobody touches it any more.
    pub(super) fn complete(&self, table: usize) {
        self.state().complete.insert(table);
    }

    /// A session that had begun has no rows left to load: makes what can be made while others are busy.
    pub(super) fn help(&self) -> Result<()> {
        self.state().busy -= 1;
        while let Some(definition) = self.take() {
            let one = self.after.with_entries(|entry| entry.dump_id == definition.dump_id);
            let result = objects::make(self.run, self.tools, &one, self.details, 1);
            self.put_down(definition);
            result?;
            self.state().made.insert(definition.dump_id);
        }
        Ok(())
    }

    /// Numbers of the entries that are made.
    pub(super) fn made(self) -> BTreeSet<i32> {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).made
    }

    fn take(&self) -> Option<Definition> {
        let mut state = self.state();
        let index = state.next()?;
        let definition = state.waiting.remove(index);
        state.under_way.push(definition);
        state.busy += 1;
        Some(definition)
    }

    fn put_down(&self, definition: Definition) {
        let mut state = self.state();
        state.under_way.retain(|other| *other != definition);
        state.busy -= 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Where in the list the next definition is that nothing stands in the way of.
    fn next(&self) -> Option<usize> {
        let is_free = |wanted: &Definition| {
            let beside = |other: &Definition| other.table != wanted.table || !(other.alone || wanted.alone);
            self.complete.contains(&wanted.table) && self.under_way.iter().all(beside)
        };
        (self.busy > 0).then(|| self.waiting.iter().rposition(is_free)).flatten()
    }
}

/// Indexes and keys that need nothing of what else comes after the rows.
fn definitions(graph: &Graph<'_>, after: &dump::Archive, captured: &Captured, choice: &Choice) -> Vec<Definition> {
    let table = |index: &usize| captured.tables.get(*index).filter(|table| table.length >= LARGE_BYTES);
    let large: HashMap<i32, usize> =
        choice.tables.iter().filter_map(|index| Some((graph.definition_of(table(index)?)?.dump_id, *index))).collect();
    let mut definitions: Vec<Definition> = after
        .entries
        .iter()
        .filter(|entry| entry.description == "INDEX" || entry.description == "CONSTRAINT")
        .filter(|entry| entry.dependencies.is_empty())
        .filter_map(|entry| {
            let table = graph.entry(entry.dump_id)?.dependencies.iter().find_map(|id| large.get(id))?;
            Some(Definition { dump_id: entry.dump_id, table: *table, alone: entry.description == "CONSTRAINT" })
        })
        .collect();
    definitions.sort_by_key(|definition| captured.tables.get(definition.table).map(|table| table.length));
    definitions
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(dump_id: i32, table: usize) -> Definition {
        Definition { dump_id, table, alone: false }
    }

    fn key(dump_id: i32, table: usize) -> Definition {
        Definition { dump_id, table, alone: true }
    }

    fn next(state: &State) -> Option<i32> {
        state.next().map(|index| state.waiting[index].dump_id)
    }

    #[test]
    fn definitions_are_made_of_complete_tables_only_and_while_another_session_is_busy() {
        let mut state = State { busy: 1, waiting: vec![index(1, 0), key(2, 1)], ..State::default() };
        assert_eq!(next(&state), None, "no table is complete");
        state.complete.insert(0);
        assert_eq!(next(&state), Some(1));
        state.complete.insert(1);
        assert_eq!(next(&state), Some(2), "the largest table first");
        state.busy = 0;
        assert_eq!(next(&state), None, "all sessions of the restore make the rest");
    }

    #[test]
    fn indexes_of_one_table_are_made_side_by_side_and_keys_alone() {
        let mut state = State { busy: 1, waiting: vec![key(1, 0), index(2, 0)], ..State::default() };
        state.complete.insert(0);
        state.under_way = vec![index(3, 0)];
        assert_eq!(next(&state), Some(2));
        state.waiting.pop();
        assert_eq!(next(&state), None, "a key would wait for the index");
        state.waiting.push(index(2, 0));
        state.under_way = vec![key(4, 0)];
        assert_eq!(next(&state), None, "an index would wait for the key");
        state.under_way = vec![key(4, 1)];
        assert_eq!(next(&state), Some(2), "another table's key is in nobody's way");
    }
}
