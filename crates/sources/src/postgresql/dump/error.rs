//! Why an archive cannot be used.

use std::{fmt, io};

use crate::{ErrorKind, SourceError};

#[derive(Debug)]
pub(in crate::postgresql) enum DumpError {
    /// It does not begin as archives do.
    NotAnArchive,
    /// An archive of a version that we do not know.
    UnknownVersion { major: u8, minor: u8, revision: u8 },
    /// A sentence without its full stop: what is odd.
    Malformed(String),
    /// The fault of whoever gives the bytes.
    Io(io::Error),
}

pub(super) fn malformed(what: impl Into<String>) -> DumpError {
    DumpError::Malformed(what.into())
}

impl DumpError {
    /// Of a failed read: an end that came too early is a fault of the archive.
    pub(super) fn reading(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { malformed("it ends too early") } else { Self::Io(error) }
    }
}

impl fmt::Display for DumpError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAnArchive => out.write_str("This is not a PostgreSQL archive in the custom format."),
            Self::UnknownVersion { major, minor, revision } => {
                write!(out, "Version {major}.{minor}.{revision} of PostgreSQL's custom archive format is not known.")
            }
            Self::Malformed(what) => write!(out, "The PostgreSQL archive is not as it should be: {what}."),
            Self::Io(_) => out.write_str("The PostgreSQL archive cannot be read to its end."),
        }
    }
}

impl std::error::Error for DumpError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(error) => Some(error),
            Self::NotAnArchive | Self::UnknownVersion { .. } | Self::Malformed(_) => None,
        }
    }
}

impl From<DumpError> for SourceError {
    fn from(error: DumpError) -> Self {
        let kind = match error {
            DumpError::NotAnArchive | DumpError::Malformed(_) => ErrorKind::Invalid,
            DumpError::UnknownVersion { .. } => ErrorKind::Unsupported,
            DumpError::Io(_) => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string()).because(error)
    }
}
