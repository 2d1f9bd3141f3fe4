//! One entry of the table of contents.

use std::{io::Read, str::FromStr};

use super::{
    error::{DumpError, malformed},
    header::Version,
    text::Text,
    wire::{Input, put_integer, put_optional_text, put_text},
};

/// Bytes of an offset with its flag.
const OFFSET_BYTES: usize = 9;

/// When a restore carries an entry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::postgresql) enum Section {
    /// Goes with what it belongs to (comments, grants).
    None,
    PreData,
    Data,
    PostData,
}

/// Where the entry's data block lies in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgresql) enum Offset {
    /// Somewhere: the archive was written into a pipe.
    Unknown,
    At(u64),
    /// The archive holds no data of the entry.
    NoData,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgresql) struct Entry {
    pub dump_id: i32,
    /// A data block belongs to it.
    pub had_dumper: bool,
    /// Of the system table.
    pub table_oid: u32,
    /// In the system table.
    pub oid: u32,
    /// Its name.
    pub tag: Text,
    /// What it is: `TABLE`, `TABLE DATA`, `SEQUENCE SET`, `BLOBS` ...
    pub description: Text,
    pub section: Section,
    pub definition: Option<Text>,
    pub drop_statement: Option<Text>,
    /// `COPY schema.name (columns) FROM stdin;`
    pub copy_statement: Option<Text>,
    pub namespace: Option<Text>,
    pub tablespace: Option<Text>,
    /// Always `None` before version 1.14.
    pub table_access_method: Option<Text>,
    /// `relkind`, 0 for what is none; `None` before version 1.16.
    pub relation_kind: Option<i32>,
    pub owner: Option<Text>,
    pub with_oids: bool,
    /// `dump_id`s of what must be there before.
    pub dependencies: Vec<i32>,
    pub offset: Offset,
}

impl Entry {
    pub fn is_table_data(&self) -> bool {
        self.had_dumper && self.description == "TABLE DATA"
    }

    pub fn is_large_objects(&self) -> bool {
        self.had_dumper && self.description == "BLOBS"
    }

    /// Settings that every restore begins with.
    pub fn is_setting(&self) -> bool {
        ["ENCODING", "STDSTRINGS", "SEARCHPATH"].iter().any(|description| self.description == **description)
    }

    pub(super) fn read<R: Read>(input: &mut Input<'_, R>, version: Version) -> Result<Self, DumpError> {
        let dump_id = input.integer()?;
        if dump_id <= 0 {
            return Err(malformed(format!("an entry has the number {dump_id}")));
        }
        let had_dumper = match input.integer()? {
            0 => false,
            1 => true,
            _ => return Err(malformed(format!("entry {dump_id} does not say whether it has data"))),
        };
        Ok(Self {
            dump_id,
            had_dumper,
            table_oid: number(&input.text()?)?,
            oid: number(&input.text()?)?,
            tag: input.text()?,
            description: input.text()?,
            section: section(input.integer()?)?,
            definition: input.optional_text()?,
            drop_statement: input.optional_text()?,
            copy_statement: input.optional_text()?,
            namespace: input.optional_text()?,
            tablespace: input.optional_text()?,
            table_access_method: if version.has_access_methods() { input.optional_text()? } else { None },
            relation_kind: if version.has_relation_kinds() { Some(input.integer()?) } else { None },
            owner: input.optional_text()?,
            with_oids: match input.text()? {
                text if text == "false" => false,
                text if text == "true" => true,
                _ => return Err(malformed(format!("entry {dump_id} does not say whether it has OIDs"))),
            },
            dependencies: dependencies(input)?,
            offset: offset(input.array()?)?,
        })
    }

    /// With another offset than it has, where the data lie elsewhere.
    pub(super) fn write(&self, out: &mut Vec<u8>, version: Version, offset: Offset) {
        let Self {
            dump_id,
            had_dumper,
            table_oid,
            oid,
            tag,
            description,
            section,
            definition,
            drop_statement,
            copy_statement,
            namespace,
            tablespace,
            table_access_method,
            relation_kind,
            owner,
            with_oids,
            dependencies,
            offset: _,
        } = self;
        put_integer(out, *dump_id);
        put_integer(out, i32::from(*had_dumper));
        put_text(out, table_oid.to_string().as_bytes());
        put_text(out, oid.to_string().as_bytes());
        put_text(out, tag.as_bytes());
        put_text(out, description.as_bytes());
        put_integer(
            out,
            match section {
                Section::None => 1,
                Section::PreData => 2,
                Section::Data => 3,
                Section::PostData => 4,
            },
        );
        for text in [definition, drop_statement, copy_statement, namespace, tablespace] {
            put_optional_text(out, text.as_ref());
        }
        if version.has_access_methods() {
            put_optional_text(out, table_access_method.as_ref());
        }
        if version.has_relation_kinds() {
            put_integer(out, relation_kind.unwrap_or_default());
        }
        put_optional_text(out, owner.as_ref());
        put_text(out, if *with_oids { b"true" } else { b"false" });
        for dependency in dependencies {
            put_text(out, dependency.to_string().as_bytes());
        }
        put_optional_text(out, None);
        let (flag, position) = match offset {
            Offset::Unknown => (1, 0),
            Offset::At(position) => (2, position),
            Offset::NoData => (3, 0),
        };
        out.push(flag);
        out.extend(position.to_le_bytes());
    }
}

fn section(number: i32) -> Result<Section, DumpError> {
    match number {
        1 => Ok(Section::None),
        2 => Ok(Section::PreData),
        3 => Ok(Section::Data),
        4 => Ok(Section::PostData),
        other => Err(malformed(format!("it has a section {other}"))),
    }
}

fn dependencies<R: Read>(input: &mut Input<'_, R>) -> Result<Vec<i32>, DumpError> {
    let mut dependencies = Vec::new();
    while let Some(text) = input.optional_text()? {
        dependencies.push(number(&text)?);
    }
    dependencies.shrink_to_fit();
    Ok(dependencies)
}

/// A number that was printed without ornaments.
fn number<N: FromStr + ToString>(text: &Text) -> Result<N, DumpError> {
    let number = text.as_str().and_then(|text| Some((text, text.parse::<N>().ok()?)));
    let number = number.filter(|(text, number)| number.to_string() == **text);
    number.map(|(_, number)| number).ok_or_else(|| malformed(format!("`{}` is not a number", text.lossy())))
}

fn offset(bytes: [u8; OFFSET_BYTES]) -> Result<Offset, DumpError> {
    let [flag, position @ ..] = bytes;
    match (flag, u64::from_le_bytes(position)) {
        (1, 0) => Ok(Offset::Unknown),
        (2, position) => Ok(Offset::At(position)),
        (3, 0) => Ok(Offset::NoData),
        _ => Err(malformed("an offset is not written as pg_dump writes it")),
    }
}
