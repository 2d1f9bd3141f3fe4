//! Extended attributes, raw: POSIX ACLs and capabilities are among them.

use std::{
    ffi::CStr,
    os::fd::{AsFd, AsRawFd},
};

use rustix::io::Errno;

/// Linux's upper limit for the list of names and for one value, bytes.
const ATTRIBUTE_LIMIT_BYTES: usize = 64 * 1024;

/// What an entry's attributes are asked of.
#[derive(Clone, Copy)]
pub(super) enum Place<'a, Fd: AsFd> {
    Handle(&'a Fd),
    /// An entry that cannot be opened (a symlink, a fifo) in an open directory.
    Name(&'a Fd, &'a CStr),
}

/// Reads attributes through reused buffers; learns which file systems have none.
pub(super) struct AttributeReader {
    names: Vec<u8>,
    value: Vec<u8>,
    path: Vec<u8>,
    without: Vec<u64>,
}

/// What came of reading an entry's attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attributes {
    Complete,
    /// The list or a value could not be read.
    Refused(Errno),
}

impl AttributeReader {
    pub fn new() -> Self {
        Self {
            names: vec![0; ATTRIBUTE_LIMIT_BYTES],
            value: vec![0; ATTRIBUTE_LIMIT_BYTES],
            path: Vec::new(),
            without: Vec::new(),
        }
    }

    /// Fills `into` with the attributes of an entry on `device`, sorted by name.
    pub fn read<Fd: AsFd>(
        &mut self,
        place: Place<'_, Fd>,
        device: u64,
        into: &mut Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Attributes {
        into.clear();
        if self.without.contains(&device) {
            return Attributes::Complete;
        }
        let path = proc_path(&mut self.path, &place);
        let length = match &place {
            Place::Handle(handle) => rustix::fs::flistxattr(handle, &mut self.names[..]),
            Place::Name(..) => rustix::fs::llistxattr(path, &mut self.names[..]),
        };
        let length = match length {
            Ok(length) => length,
            Err(Errno::NOTSUP | Errno::NOSYS) => {
                self.without.push(device);
                return Attributes::Complete;
            }
            // Without /proc the attributes of links and fifos are out of reach; those rarely have any.
            Err(Errno::NOENT | Errno::LOOP) => return Attributes::Complete,
            Err(errno) => return Attributes::Refused(errno),
        };
        let mut outcome = Attributes::Complete;
        for name in self.names[..length].split_inclusive(|byte| *byte == 0) {
            let Ok(c_name) = CStr::from_bytes_with_nul(name) else { continue };
            let value = match &place {
                Place::Handle(handle) => rustix::fs::fgetxattr(handle, c_name, &mut self.value[..]),
                Place::Name(..) => rustix::fs::lgetxattr(path, c_name, &mut self.value[..]),
            };
            match value {
                Ok(length) => into.push((c_name.to_bytes().to_vec(), self.value[..length].to_vec())),
                // Gone since it was listed, or listed by a file system that will not tell.
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(errno) => outcome = Attributes::Refused(errno),
            }
        }
        into.sort_unstable();
        outcome
    }
}

/// Sets one attribute.
pub(super) fn set<Fd: AsFd>(place: Place<'_, Fd>, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?;
    let flags = rustix::fs::XattrFlags::empty();
    match &place {
        Place::Handle(handle) => rustix::fs::fsetxattr(handle, &name, value, flags),
        Place::Name(..) => rustix::fs::lsetxattr(proc_path(&mut Vec::new(), &place), &name, value, flags),
    }
}

/// Removes one attribute; one that is not there is no error.
pub(super) fn remove<Fd: AsFd>(handle: &Fd, name: &[u8]) -> Result<(), Errno> {
    let name = std::ffi::CString::new(name).map_err(|_| Errno::INVAL)?;
    match rustix::fs::fremovexattr(handle, &name) {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        answer => answer,
    }
}

/// There are no `…at` calls for attributes: the directory's handle is named through /proc, so that only the last
/// component is looked up, and the `l…` calls do not follow it.
fn proc_path<'p, Fd: AsFd>(path: &'p mut Vec<u8>, place: &Place<'_, Fd>) -> &'p CStr {
    path.clear();
    if let Place::Name(directory, name) = place {
        path.extend_from_slice(b"/proc/self/fd/");
        path.extend_from_slice(directory.as_fd().as_raw_fd().to_string().as_bytes());
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
    }
    path.push(0);
    super::names::as_c_str(path)
}
