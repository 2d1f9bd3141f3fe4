//! Header and table of contents.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io::Read,
};

use super::{
    entry::{Entry, Offset},
    error::{DumpError, malformed},
    header::Header,
    wire::{Input, TOC_LIMIT_BYTES, put_integer},
};

/// What stands before the data blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgresql) struct Archive {
    pub header: Header,
    /// In the order of a restore; data blocks follow the same order.
    pub entries: Vec<Entry>,
}

/// The large objects of one `BLOBS` entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgresql) struct LargeObjectGroup {
    pub dump_id: i32,
    /// `None`: all of the database (before version 1.16).
    pub oids: Option<Vec<u32>>,
}

impl Archive {
    /// Reads header and table of contents, and not one byte more. Many small reads: give a buffered reader.
    ///
    /// # Errors
    /// What `pg_dump` would not have written is refused, so that what is accepted is written back as it was.
    pub fn read(reader: &mut impl Read) -> Result<Self, DumpError> {
        let mut input = Input::new(reader, TOC_LIMIT_BYTES);
        let header = Header::read(&mut input)?;
        let count = input.integer()?;
        if count < 0 {
            return Err(malformed(format!("it has {count} entries")));
        }
        let mut entries = Vec::new();
        let mut dump_ids = HashSet::new();
        for _ in 0..count {
            let entry = Entry::read(&mut input, header.version)?;
            if !dump_ids.insert(entry.dump_id) {
                return Err(malformed(format!("two entries have the number {}", entry.dump_id)));
            }
            entries.push(entry);
        }
        Ok(Self { header, entries })
    }

    /// Byte by byte what was read, where nothing was changed.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.with_offsets(|entry| entry.offset)
    }

    /// A file of its own that says that it holds no data: `pg_restore --section=pre-data`, `--section=post-data -j2` and
    /// `-L list` take it.
    pub fn without_data(&self) -> Vec<u8> {
        self.with_offsets(|_| Offset::NoData)
    }

    /// The bytes of an archive whose data lie elsewhere. Its length is always the same: offsets have a fixed width.
    pub(super) fn with_offsets(&self, offset: impl Fn(&Entry) -> Offset) -> Vec<u8> {
        let Self { header, entries } = self;
        let mut out = Vec::new();
        header.write(&mut out);
        put_integer(&mut out, i32::try_from(entries.len()).unwrap_or(i32::MAX));
        entries.iter().for_each(|entry| entry.write(&mut out, header.version, offset(entry)));
        out
    }

    pub fn entry(&self, dump_id: i32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.dump_id == dump_id)
    }

    /// An archive with the wanted entries and the settings that every restore needs. Dependencies on what is left out go
    /// too: `pg_restore` would wait for them.
    #[must_use]
    pub fn with_entries(&self, wanted: impl Fn(&Entry) -> bool) -> Self {
        let kept = |entry: &&Entry| entry.is_setting() || wanted(entry);
        let mut entries: Vec<Entry> = self.entries.iter().filter(kept).cloned().collect();
        let dump_ids: HashSet<i32> = entries.iter().map(|entry| entry.dump_id).collect();
        for entry in &mut entries {
            entry.dependencies.retain(|dependency| dump_ids.contains(dependency));
        }
        Self { header: self.header.clone(), entries }
    }

    /// The entries themselves and all that they need, and what that needs: by their dependencies, and the schemas that
    /// they stand in. Numbers that no entry has are left out.
    pub fn closure(&self, dump_ids: &[i32]) -> BTreeSet<i32> {
        let entries: HashMap<i32, &Entry> = self.entries.iter().map(|entry| (entry.dump_id, entry)).collect();
        let schemas: HashMap<&[u8], i32> = self
            .entries
            .iter()
            .filter(|entry| entry.description == "SCHEMA")
            .map(|entry| (entry.tag.as_bytes(), entry.dump_id))
            .collect();
        let mut found = BTreeSet::new();
        let mut open: Vec<i32> = dump_ids.to_vec();
        while let Some(dump_id) = open.pop() {
            let Some(entry) = entries.get(&dump_id) else { continue };
            if found.insert(dump_id) {
                open.extend(&entry.dependencies);
                open.extend(entry.namespace.as_ref().and_then(|schema| schemas.get(schema.as_bytes())));
            }
        }
        found
    }

    /// Which large objects belong into the payload of which entry, in the order of the payloads. From version 1.16 on
    /// there is an entry for every thousand objects of one owner, and it depends on a list of their numbers.
    ///
    /// # Errors
    /// [`DumpError::Malformed`] for a list that is none.
    pub fn large_object_groups(&self) -> Result<Vec<LargeObjectGroup>, DumpError> {
        let lists: HashMap<i32, &Entry> = self
            .entries
            .iter()
            .filter(|entry| entry.description == "BLOB METADATA")
            .map(|entry| (entry.dump_id, entry))
            .collect();
        let group = |entry: &Entry| {
            let list = entry.dependencies.iter().find_map(|dependency| lists.get(dependency));
            let oids = match list {
                Some(list) => Some(large_objects(list)?),
                None if self.header.version.has_relation_kinds() => {
                    return Err(malformed(format!("entry {} does not say which large objects it has", entry.dump_id)));
                }
                None => None,
            };
            Ok(LargeObjectGroup { dump_id: entry.dump_id, oids })
        };
        self.entries.iter().filter(|entry| entry.is_large_objects()).map(group).collect()
    }
}

/// One number a line.
fn large_objects(list: &Entry) -> Result<Vec<u32>, DumpError> {
    let text = list.definition.as_ref().and_then(|text| text.as_str()).unwrap_or_default();
    let numbers = text.lines().map(|line| line.parse().ok()).collect::<Option<Vec<u32>>>();
    numbers.ok_or_else(|| malformed(format!("entry {} does not list large objects", list.dump_id)))
}
