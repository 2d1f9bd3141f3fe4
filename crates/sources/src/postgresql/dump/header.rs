//! What stands before the table of contents.

use std::io::Read;

use super::{
    error::{DumpError, malformed},
    text::Text,
    wire::{Input, put_integer, put_optional_text},
};

const MAGIC: [u8; 5] = *b"PGDMP";
/// Bytes of an integer without its sign, and of an offset; so on every platform of `pg_dump`'s own packages.
const SIZES: [u8; 2] = [4, 8];
/// `archCustom`.
const CUSTOM_FORMAT: u8 = 1;
/// The versions that are known: 1.12 is PostgreSQL 9.0, 1.16 is 17 and 18.
const MAJOR: u8 = 1;
const MINORS: std::ops::RangeInclusive<u8> = 12..=16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::postgresql) struct Version {
    pub major: u8,
    pub minor: u8,
    pub revision: u8,
}

impl Version {
    /// 1.14 (PostgreSQL 12): entries name a table access method.
    pub(super) fn has_access_methods(self) -> bool {
        self.minor >= 14
    }

    /// 1.15 (PostgreSQL 16): compression is an algorithm, no longer a level.
    fn names_algorithm(self) -> bool {
        self.minor >= 15
    }

    /// 1.16 (PostgreSQL 17): entries say what kind of relation they are; large objects come in groups.
    pub(super) fn has_relation_kinds(self) -> bool {
        self.minor >= 16
    }
}

/// How the data blocks are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::postgresql) enum Compression {
    /// Before 1.15: zlib's level; 0 is none.
    Level(i32),
    /// From 1.15 on: 0 none, 1 gzip, 2 lz4, 3 zstd.
    Algorithm(u8),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgresql) struct Header {
    pub version: Version,
    pub compression: Compression,
    /// Local time of the dump: second, minute, hour, day, month from 0, year from 1900, daylight saving.
    pub created: [i32; 7],
    pub database: Option<Text>,
    pub server_version: Option<Text>,
    pub tool_version: Option<Text>,
}

impl Header {
    pub fn is_compressed(&self) -> bool {
        !matches!(self.compression, Compression::Level(0) | Compression::Algorithm(0))
    }

    pub(super) fn read<R: Read>(input: &mut Input<'_, R>) -> Result<Self, DumpError> {
        let magic = input.array::<{ MAGIC.len() }>().map_err(|error| match error {
            DumpError::Io(error) => DumpError::Io(error),
            _ => DumpError::NotAnArchive,
        })?;
        if magic != MAGIC {
            return Err(DumpError::NotAnArchive);
        }
        let [major, minor, revision] = input.array()?;
        if major != MAJOR || !MINORS.contains(&minor) {
            return Err(DumpError::UnknownVersion { major, minor, revision });
        }
        let version = Version { major, minor, revision };
        if input.array::<2>()? != SIZES {
            return Err(malformed("its integers and offsets do not have 4 and 8 bytes"));
        }
        if input.byte()? != CUSTOM_FORMAT {
            return Err(malformed("it is in the directory or tar format"));
        }
        let compression = if version.names_algorithm() {
            Compression::Algorithm(input.byte()?)
        } else {
            Compression::Level(input.integer()?)
        };
        let mut created = [0; 7];
        for field in &mut created {
            *field = input.integer()?;
        }
        Ok(Self {
            version,
            compression,
            created,
            database: input.optional_text()?,
            server_version: input.optional_text()?,
            tool_version: input.optional_text()?,
        })
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Self { version, compression, created, database, server_version, tool_version } = self;
        out.extend(MAGIC);
        out.extend([version.major, version.minor, version.revision]);
        out.extend(SIZES);
        out.push(CUSTOM_FORMAT);
        match compression {
            Compression::Level(level) => put_integer(out, *level),
            Compression::Algorithm(algorithm) => out.push(*algorithm),
        }
        created.iter().for_each(|field| put_integer(out, *field));
        for text in [database, server_version, tool_version] {
            put_optional_text(out, text.as_ref());
        }
    }
}
