//! What needs what in a table of contents.

use std::collections::{BTreeSet, HashMap, HashSet};

use crate::postgresql::{
    dump::{Archive, Entry},
    layout::Table,
};

/// Things that hang on others and come with them.
const ATTACHED: [&str; 22] = [
    "ACL",
    "CHECK CONSTRAINT",
    "COMMENT",
    "CONSTRAINT",
    "DEFAULT",
    "FK CONSTRAINT",
    "INDEX",
    "INDEX ATTACH",
    "MATERIALIZED VIEW DATA",
    "POLICY",
    "PUBLICATION TABLE",
    "ROW SECURITY",
    "RULE",
    "SECURITY LABEL",
    "SEQUENCE OWNED BY",
    "SEQUENCE SET",
    "STATISTICS",
    "STATISTICS DATA",
    "TABLE ATTACH",
    "TRIGGER",
    "BLOB METADATA",
    "BLOBS",
];
/// Things that hold or show rows.
const RELATIONS: [&str; 4] = ["TABLE", "FOREIGN TABLE", "VIEW", "MATERIALIZED VIEW"];

pub(super) fn is_relation(entry: &Entry) -> bool {
    RELATIONS.iter().any(|relation| entry.description == **relation)
}

/// Whether it can be wanted for itself.
pub(super) fn stands_alone(entry: &Entry) -> bool {
    !ATTACHED.iter().any(|attached| entry.description == **attached)
}

pub(super) struct Graph<'a> {
    entries: &'a [Entry],
    by_id: HashMap<i32, &'a Entry>,
    schemas: HashMap<&'a [u8], i32>,
}

impl<'a> Graph<'a> {
    pub(super) fn new(archive: &'a Archive) -> Self {
        let entries = &archive.entries;
        let schemas = entries.iter().filter(|entry| entry.description == "SCHEMA");
        Self {
            entries,
            by_id: entries.iter().map(|entry| (entry.dump_id, entry)).collect(),
            schemas: schemas.map(|entry| (entry.tag.as_bytes(), entry.dump_id)).collect(),
        }
    }

    pub(super) fn entry(&self, dump_id: i32) -> Option<&'a Entry> {
        self.by_id.get(&dump_id).copied()
    }

    /// What makes a table whose rows were captured; nothing for one that an extension makes, which may hold rows already.
    pub(super) fn definition_of(&self, table: &Table) -> Option<&'a Entry> {
        let rows = self.entry(table.dump_id)?;
        rows.dependencies
            .iter()
            .filter_map(|id| self.entry(*id))
            .find(|made| made.description == "TABLE" && made.tag == rows.tag && made.namespace == rows.namespace)
    }

    /// Adds the partitions and their rows of partitioned tables.
    pub(super) fn with_partitions(&self, mut seeds: BTreeSet<i32>) -> BTreeSet<i32> {
        loop {
            let before = seeds.len();
            for attach in self.entries.iter().filter(|entry| entry.description == "TABLE ATTACH") {
                // The entry is called and owned as the partition, and depends on it and on the parent.
                let tables =
                    attach.dependencies.iter().filter_map(|id| self.entry(*id)).filter(|entry| is_relation(entry));
                let (partition, parents): (Vec<&Entry>, Vec<&Entry>) =
                    tables.partition(|table| table.tag == attach.tag && table.namespace == attach.namespace);
                if parents.iter().any(|parent| seeds.contains(&parent.dump_id)) {
                    seeds.extend(partition.iter().map(|entry| entry.dump_id));
                }
            }
            if seeds.len() == before {
                break;
            }
        }
        let rows = self.entries.iter().filter(|entry| entry.is_table_data());
        let wanted = rows.filter(|rows| rows.dependencies.iter().any(|table| seeds.contains(table)));
        let wanted: Vec<i32> = wanted.map(|entry| entry.dump_id).collect();
        seeds.extend(wanted);
        seeds
    }

    /// The seeds, what they need, and what hangs on these and on nothing else.
    pub(super) fn with_what_belongs(&self, seeds: &BTreeSet<i32>, notes: &mut Vec<String>) -> BTreeSet<i32> {
        let mut chosen = BTreeSet::new();
        for seed in seeds {
            let needed = self.needed(*seed, &chosen);
            chosen.extend(needed);
        }
        loop {
            let before = chosen.len();
            for entry in self.entries {
                let hangs = !stands_alone(entry) && entry.dependencies.iter().any(|id| chosen.contains(id));
                if !hangs || chosen.contains(&entry.dump_id) {
                    continue;
                }
                let needed = self.needed(entry.dump_id, &chosen);
                let other = needed.iter().filter_map(|id| self.entry(*id)).find(|other| is_relation(other));
                if other.is_none() {
                    chosen.extend(needed);
                }
            }
            if chosen.len() == before {
                break;
            }
        }
        self.note_left_out(&chosen, notes);
        let bare = chosen.iter().filter(|id| !seeds.contains(id)).filter_map(|id| self.entry(*id));
        notes.extend(
            bare.filter(|entry| entry.description == "TABLE" || entry.description == "MATERIALIZED VIEW")
                .map(|entry| format!("Makes {} without its rows, because something wanted needs it.", name(entry))),
        );
        chosen
    }

    /// All but the unwanted and what cannot be without them.
    pub(super) fn without(&self, unwanted: &BTreeSet<i32>, notes: &mut Vec<String>) -> BTreeSet<i32> {
        let mut gone: HashSet<i32> = unwanted.iter().copied().collect();
        loop {
            let before = gone.len();
            for entry in self.entries {
                if entry.dependencies.iter().any(|id| gone.contains(id)) {
                    gone.insert(entry.dump_id);
                }
            }
            if gone.len() == before {
                break;
            }
        }
        let chosen: BTreeSet<i32> =
            self.entries.iter().map(|entry| entry.dump_id).filter(|id| !gone.contains(id)).collect();
        self.note_left_out(&chosen, notes);
        let lost =
            self.entries.iter().filter(|entry| gone.contains(&entry.dump_id) && !unwanted.contains(&entry.dump_id));
        notes.extend(
            lost.filter(|entry| stands_alone(entry) && !entry.is_table_data())
                .map(|entry| format!("Leaves {} {} out, which needs something unwanted.", kind(entry), name(entry))),
        );
        chosen
    }

    /// An entry and all that it needs, without what is chosen already.
    fn needed(&self, dump_id: i32, chosen: &BTreeSet<i32>) -> BTreeSet<i32> {
        let (mut found, mut open) = (BTreeSet::new(), vec![dump_id]);
        while let Some(dump_id) = open.pop() {
            let Some(entry) = self.entry(dump_id) else { continue };
            if chosen.contains(&dump_id) || !found.insert(dump_id) {
                continue;
            }
            open.extend(&entry.dependencies);
            open.extend(entry.namespace.as_ref().and_then(|schema| self.schemas.get(schema.as_bytes())));
        }
        found
    }

    /// Names what hangs on something chosen and is not.
    fn note_left_out(&self, chosen: &BTreeSet<i32>, notes: &mut Vec<String>) {
        let worth = ["FK CONSTRAINT", "TRIGGER", "POLICY", "RULE", "TABLE ATTACH"];
        let left = self.entries.iter().filter(|entry| {
            worth.iter().any(|kind| entry.description == **kind)
                && !chosen.contains(&entry.dump_id)
                && entry.dependencies.iter().any(|id| chosen.contains(id) && self.entry(*id).is_some_and(is_relation))
        });
        notes.extend(
            left.map(|entry| format!("Leaves {} {} out, which needs something unwanted.", kind(entry), name(entry))),
        );
    }
}

fn kind(entry: &Entry) -> String {
    match &*entry.description.lossy() {
        "FK CONSTRAINT" => "the foreign key".to_owned(),
        other => format!("the {}", other.to_lowercase()),
    }
}

fn name(entry: &Entry) -> String {
    match &entry.namespace {
        Some(schema) => format!("{}.{}", schema.lossy(), entry.tag.lossy()),
        None => entry.tag.lossy().into_owned(),
    }
}
