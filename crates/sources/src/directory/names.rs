//! The names of one directory, in ascending byte order, in two allocations whatever their number.

use std::{ffi::CStr, mem::MaybeUninit, os::fd::AsFd};

use rustix::{fs::RawDir, io::Errno};

/// Bytes asked of the kernel in one call.
pub(super) const LISTING_BUFFER_BYTES: usize = 64 * 1024;

/// The buffer for [`Names::read`], one for a whole walk.
pub(super) struct ListingBuffer(Vec<MaybeUninit<u8>>);

impl ListingBuffer {
    pub fn new() -> Self {
        Self(vec![MaybeUninit::uninit(); LISTING_BUFFER_BYTES])
    }
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    length: u16,
}

/// The names of a directory without `.` and `..`, handed out in order.
#[derive(Default)]
pub(super) struct Names {
    /// Each name with a NUL behind it.
    bytes: Vec<u8>,
    spans: Vec<Span>,
    next: usize,
}

impl Names {
    /// Lists `directory` anew, from its beginning, into the memory of the previous listing.
    /// Names that together take more than 4 GiB are refused with `EOVERFLOW`.
    pub fn read(&mut self, directory: impl AsFd, buffer: &mut ListingBuffer) -> Result<(), Errno> {
        self.bytes.clear();
        self.spans.clear();
        self.next = 0;
        rustix::fs::seek(&directory, rustix::fs::SeekFrom::Start(0))?;
        let mut entries = RawDir::new(directory, &mut buffer.0);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let start = u32::try_from(self.bytes.len()).map_err(|_| Errno::OVERFLOW)?;
            let length = u16::try_from(name.count_bytes()).map_err(|_| Errno::OVERFLOW)?;
            self.bytes.extend_from_slice(name.to_bytes_with_nul());
            self.spans.push(Span { start, length });
        }
        let Self { bytes, spans, next: _ } = self;
        spans.sort_unstable_by(|left, right| slice(bytes, *left).cmp(slice(bytes, *right)));
        // A directory that changes while it is listed may show a name twice.
        spans.dedup_by(|left, right| slice(bytes, *left) == slice(bytes, *right));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Copies the next name with its NUL into `name`; false at the end.
    pub fn next_into(&mut self, name: &mut Vec<u8>) -> bool {
        let Some(span) = self.spans.get(self.next) else { return false };
        self.next += 1;
        name.clear();
        name.extend_from_slice(slice(&self.bytes, *span));
        name.push(0);
        true
    }

    pub fn contains(&self, name: &[u8]) -> bool {
        self.spans.binary_search_by(|span| slice(&self.bytes, *span).cmp(name)).is_ok()
    }

    /// Leaves `name` alone as the only one.
    pub fn keep_only(&mut self, name: &[u8]) {
        let Self { bytes, spans, next: _ } = self;
        spans.retain(|span| slice(bytes, *span) == name);
    }

    /// Drops what has not been handed out yet.
    pub fn skip_rest(&mut self) {
        self.next = self.spans.len();
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.spans.iter().map(|span| slice(&self.bytes, *span))
    }
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    let start = span.start as usize;
    &bytes[start..start + usize::from(span.length)]
}

/// A name with its NUL as the system calls want it. An empty name where there is no single NUL at the end, which the
/// kernel refuses.
pub(super) fn as_c_str(name: &[u8]) -> &CStr {
    CStr::from_bytes_with_nul(name).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    #[test]
    fn names_come_in_byte_order_without_the_dots() {
        let place = tempfile::tempdir().unwrap();
        for name in [&b"b"[..], b"a.b", b"a", b"\xff", b"B"] {
            std::fs::write(place.path().join(std::ffi::OsStr::from_bytes(name)), b"").unwrap();
        }
        let handle = super::super::status::open_directory_path(place.path()).unwrap();
        let mut names = Names::default();
        names.read(&handle, &mut ListingBuffer::new()).unwrap();
        assert_eq!(names.iter().collect::<Vec<_>>(), [&b"B"[..], b"a", b"a.b", b"b", b"\xff"]);
        assert!(names.contains(b"a.b") && !names.contains(b"c"));
        let mut name = Vec::new();
        assert!(names.next_into(&mut name));
        assert_eq!(as_c_str(&name), c"B");
        names.skip_rest();
        assert!(!names.next_into(&mut name));
    }
}
