//! Downloads are read by the programs that people have: GNU tar, gzip and Python.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use trivault_sources::{
    RandomRead, Result, Timestamp,
    archive::{
        Concatenation, RunningCrc, Segment, StoredGzip, single_member, single_member_length, stored_gzip_length,
        tar::{self, Entry, EntryType},
    },
};

const AT: Timestamp = Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 };

struct Memory(Vec<u8>);

impl RandomRead for Memory {
    fn length(&self) -> u64 {
        self.0.len() as u64
    }

    /// Short reads on purpose: at most 1000 bytes.
    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let rest = &self.0[(offset as usize).min(self.0.len())..];
        let count = rest.len().min(buffer.len()).min(1000);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

/// Zeros of any length, without the memory.
struct Zeros(u64);

impl RandomRead for Zeros {
    fn length(&self) -> u64 {
        self.0
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let count = buffer.len().min((self.0.saturating_sub(offset)) as usize);
        buffer[..count].fill(0);
        Ok(count)
    }
}

/// Bytes that no two places share.
fn content(length: usize) -> Vec<u8> {
    (0..length as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn whole(reader: &mut dyn RandomRead) -> Vec<u8> {
    let mut bytes = vec![0; reader.length() as usize];
    assert_eq!(reader.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

fn run(program: &str, arguments: &[&str], directory: &Path) -> Output {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("{program} is needed by this test (apt-get install {program}): {error}"));
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{program} {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

fn single(bytes: &[u8]) -> StoredGzip<Concatenation> {
    single_member("app.sqlite", AT, Box::new(Memory(bytes.to_vec())), crc32fast::hash(bytes)).unwrap()
}

#[test]
fn stock_programs_read_a_single_member_of_every_awkward_size() {
    let scratch = tempfile::tempdir().unwrap();
    for size in [0, 1, 511, 512, 513, 65535 - 512, 65535, 65536, 3 * 65535 - 1536, 200_000] {
        let bytes = content(size);
        let archive = whole(&mut single(&bytes));
        assert_eq!(archive.len() as u64, single_member_length(size as u64), "size {size}");
        fs::write(scratch.path().join("a.tar.gz"), &archive).unwrap();
        run("gzip", &["-t", "a.tar.gz"], scratch.path());
        let listing = run("tar", &["-tzvf", "a.tar.gz"], scratch.path());
        let listing = String::from_utf8(listing.stdout).unwrap();
        assert!(listing.starts_with("-rw-r--r-- 0/0"), "{listing}");
        assert!(listing.ends_with(&format!("{size} 2023-11-14 22:13 app.sqlite\n")), "{listing}");
        run("tar", &["-xzf", "a.tar.gz"], scratch.path());
        assert_eq!(fs::read(scratch.path().join("app.sqlite")).unwrap(), bytes, "size {size}");
        fs::remove_file(scratch.path().join("app.sqlite")).unwrap();
    }
}

#[test]
fn every_range_around_a_boundary_equals_the_whole() {
    let bytes = content(65535 * 2 + 700);
    let mut archive = single(&bytes);
    let expected = whole(&mut archive);
    let end = expected.len();
    let boundaries =
        [0, 10, 15, 15 + 512, 10 + 65540, 10 + 65545, 10 + 2 * 65540, 10 + 2 * 65540 + 5, end - 1032, end - 8, end];
    for start in boundaries.iter().flat_map(|at| at.saturating_sub(3)..=(at + 3).min(end)) {
        for stop in boundaries.iter().flat_map(|at| at.saturating_sub(2)..=at + 2) {
            if stop < start {
                continue;
            }
            let mut range = vec![0; stop - start];
            let read = archive.read_at(start as u64, &mut range).unwrap();
            assert_eq!(range[..read], expected[start..stop.min(end)], "{start}..{stop}");
        }
    }
    let mut beyond = [0; 4];
    assert_eq!(archive.read_at(end as u64 + 5, &mut beyond).unwrap(), 0);
}

#[test]
fn the_bytes_never_change() {
    let archive = whole(&mut single(&content(70_000)));
    // Taken from an archive that the stock programs of the other tests have read.
    assert_eq!(crc32fast::hash(&archive), 2_464_417_774);
}

#[test]
fn a_member_beyond_8_gib_is_listed_with_its_size() {
    let scratch = tempfile::tempdir().unwrap();
    let size = 9 * 1024 * 1024 * 1024 + 5;
    let mut crc = RunningCrc::new();
    crc.append_zeros(size);
    let mut archive = single_member("big.sqlite", AT, Box::new(Zeros(size)), crc.value()).unwrap();
    assert_eq!(archive.length(), single_member_length(size));
    // Only its beginning: listing the rest would read nine gigabytes.
    let mut start = vec![0; 10 + 5 + 1536];
    archive.read_at(0, &mut start).unwrap();
    fs::write(scratch.path().join("a.tar"), &start[15..]).unwrap();
    let script = "import tarfile; m = tarfile.open('a.tar').next(); print(m.name, m.size, m.mtime)";
    let output = run("python3", &["-c", script], scratch.path());
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("big.sqlite {size} 1700000000\n"));
    let mut last = [0; 8];
    archive.read_at(archive.length() - 8, &mut last).unwrap();
    let payload = 1536 + size + tar::padding(size) + tar::END_BYTES;
    assert_eq!(last[4..], (payload as u32).to_le_bytes());
}

/// A tree with everything that an archive can hold.
fn tree() -> (Vec<u8>, Vec<Vec<u8>>) {
    let long = [b"long/".as_slice(), &[b'n'; 150]].concat();
    let long_raw = [b"raw/".as_slice(), &[0xff; 120]].concat();
    let target = [b't'; 130];
    let attributes = [(b"user.note".to_vec(), b"line\nand \xff".to_vec())];
    let plain = Entry::file(b"d/plain", 600, AT);
    let entries = [
        Entry { entry_type: EntryType::Directory, mode: 0o755, path: b"d", ..plain },
        Entry { uid: 3_000_000, gid: 4_294_967_294, mode: 0o4711, user: "anna", group: "staff", ..plain },
        Entry { entry_type: EntryType::HardLink(b"d/plain"), path: b"d/second", ..plain },
        Entry { entry_type: EntryType::Symlink(b"../x"), path: b"d/short", mode: 0o777, ..plain },
        Entry { entry_type: EntryType::Symlink(&target), path: b"d/far", mode: 0o777, ..plain },
        Entry { path: "d/größe-日本".as_bytes(), ..plain },
        Entry { path: b"d/\xff\xfe", ..plain },
        Entry { path: &long, extended_attributes: &attributes, ..plain },
        Entry { path: &long_raw, ..plain },
        Entry { path: b"old", modified: Timestamp { seconds: -3, nanoseconds: 0 }, ..plain },
        Entry { path: b"pipe", entry_type: EntryType::Fifo, ..plain },
    ];
    let mut crc = RunningCrc::new();
    let mut segments = Vec::new();
    for entry in &entries {
        let header = tar::header(entry);
        crc.append_bytes(&header);
        segments.push(Segment::Bytes(header));
        if let EntryType::File { size } = entry.entry_type {
            let bytes = content(size as usize);
            crc.append(crc32fast::hash(&bytes), size);
            crc.append_zeros(tar::padding(size));
            segments.push(Segment::Content(Box::new(Memory(bytes))));
            segments.push(Segment::Zeros(tar::padding(size)));
        }
    }
    crc.append_zeros(tar::END_BYTES);
    segments.push(Segment::Zeros(tar::END_BYTES));
    let payload = Concatenation::new(segments);
    let length = stored_gzip_length(payload.length());
    let bytes = whole(&mut StoredGzip::new(payload, crc.value()));
    assert_eq!(bytes.len() as u64, length);
    (bytes, entries.iter().map(|entry| entry.path.to_vec()).collect())
}

#[test]
fn gnu_tar_extracts_a_tree_with_links_long_and_raw_names() {
    use std::os::unix::{ffi::OsStrExt, fs::MetadataExt};
    let scratch = tempfile::tempdir().unwrap();
    let (archive, paths) = tree();
    fs::write(scratch.path().join("a.tar.gz"), archive).unwrap();
    run("gzip", &["-t", "a.tar.gz"], scratch.path());
    run("tar", &["-tzvf", "a.tar.gz"], scratch.path());
    fs::create_dir(scratch.path().join("out")).unwrap();
    // A date before 1970 makes GNU tar remark on it; nothing else may be said.
    let arguments = ["--no-same-owner", "--warning=no-timestamp", "-xpzf", "a.tar.gz", "-C", "out"];
    run("tar", &arguments, scratch.path());
    let out = scratch.path().join("out");
    for path in paths {
        let found = fs::symlink_metadata(out.join(std::ffi::OsStr::from_bytes(&path)));
        let found = found.unwrap_or_else(|error| panic!("{}: {error}", String::from_utf8_lossy(&path)));
        if found.is_file() {
            assert_eq!(fs::read(out.join(std::ffi::OsStr::from_bytes(&path))).unwrap(), content(600));
        }
    }
    let plain = fs::metadata(out.join("d/plain")).unwrap();
    assert_eq!((plain.mtime(), plain.mtime_nsec(), plain.nlink()), (AT.seconds, AT.nanoseconds.into(), 2));
    assert_eq!(fs::metadata(out.join("old")).unwrap().mtime(), -3);
    assert_eq!(fs::read_link(out.join("d/far")).unwrap().as_os_str().as_bytes(), [b't'; 130]);
}

#[test]
fn python_reads_the_same_tree() {
    let scratch = tempfile::tempdir().unwrap();
    let (archive, paths) = tree();
    fs::write(scratch.path().join("a.tar.gz"), archive).unwrap();
    let script = "import tarfile, os, sys\n\
        t = tarfile.open('a.tar.gz')\n\
        for m in t.getmembers():\n\
        \x20   assert not m.isfile() or len(t.extractfile(m).read()) == 600\n\
        \x20   sys.stdout.buffer.write(os.fsencode(m.name) + b'\\n')\n\
        p = t.getmember('d/plain')\n\
        assert (p.uid, p.gid, p.mode, p.uname, p.gname) == (3000000, 4294967294, 0o4711, 'anna', 'staff')\n\
        assert t.getmember('d/second').linkname == 'd/plain'\n";
    let output = run("python3", &["-c", script], scratch.path());
    let names: Vec<&[u8]> = output.stdout.split(|byte| *byte == b'\n').filter(|name| !name.is_empty()).collect();
    assert_eq!(names, paths.iter().map(Vec::as_slice).collect::<Vec<_>>());
}
