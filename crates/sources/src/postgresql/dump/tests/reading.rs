use std::io::Read;

use super::*;
use crate::postgresql::dump::header::Version;

/// Gives at most so many bytes at once, as a pipe does.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.1.min(buffer.len());
        self.0.read(&mut buffer[..count])
    }
}

#[test]
fn a_real_archive_is_written_as_it_was_read_and_nothing_behind_it_is_touched() {
    let Some(server) = PostgresServer::shared() else { return };
    let bytes = dumped(server, &everything(server));
    let mut rest = bytes.as_slice();
    let archive = Archive::read(&mut rest).unwrap();
    let toc = archive.to_bytes();
    assert!(bytes.starts_with(&toc), "not the bytes that were read");
    assert_eq!(bytes.len(), toc.len() + rest.len(), "more was read than the table of contents");
    assert_eq!(archive.header.version, Version { major: 1, minor: 14, revision: 0 });
    assert!(!archive.header.is_compressed());
    let tables: Vec<_> = archive.entries.iter().filter(|entry| entry.is_table_data()).collect();
    assert_eq!(tables.len(), 6);
    let odd = tables.iter().find(|entry| entry.tag.lossy().contains('\n')).unwrap();
    assert_eq!(odd.namespace.as_ref().unwrap().as_str(), Some("odd \"schema\" ✓"));
    let copy = odd.copy_statement.as_ref().unwrap().as_str().unwrap();
    assert_eq!(
        copy,
        "COPY \"odd \"\"schema\"\" ✓\".\"tab\nle ' \\ with . all\" (\"col\numn\", \" \", \"ж\") FROM stdin;\n"
    );
    let people = tables.iter().find(|entry| entry.tag == "people").unwrap();
    assert_eq!(
        people.copy_statement.as_ref().unwrap().lossy(),
        "COPY app.people (id, name, mood, size, photo, notes) FROM stdin;\n"
    );
    assert_eq!((people.section, people.offset), (Section::Data, Offset::Unknown));
    let groups = archive.large_object_groups().unwrap();
    assert_eq!((groups.len(), &groups[0].oids), (1, &None));
}

#[test]
fn a_stream_is_split_into_the_rows_that_copy_gives() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = everything(server);
    let bytes = dumped(server, &database);
    for portion in [1 << 20, 4099] {
        let mut stream = Dribble(&bytes, portion);
        let archive = Archive::read(&mut stream).unwrap();
        let mut splitter = Splitter::new(stream, &archive).unwrap();
        let (mut blocks, mut current, mut largest) = (Vec::new(), None, 0);
        loop {
            match splitter.next_event().unwrap() {
                Event::DataBegin(dump_id) => current = Some((dump_id, false, Vec::new())),
                Event::LargeObjectsBegin(dump_id) => current = Some((dump_id, true, Vec::new())),
                Event::Bytes(bytes) => {
                    largest = largest.max(bytes.len());
                    current.as_mut().unwrap().2.extend_from_slice(bytes);
                }
                Event::DataEnd => blocks.push(current.take().unwrap()),
                Event::End => break,
            }
        }
        assert!(largest <= 64 * 1024);
        assert_eq!(splitter.next_event().unwrap(), Event::End);
        assert_eq!(blocks.len(), 7);
        for (dump_id, large_objects, content) in blocks {
            let entry = archive.entry(dump_id).unwrap();
            if large_objects {
                assert!(entry.is_large_objects());
                let mut expected = LargeObjectFraming::begin(4001).to_vec();
                assert!(content.starts_with(&expected));
                expected = LargeObjectFraming::END.repeat(2);
                assert!(content.ends_with(&expected));
                continue;
            }
            let copy = entry.copy_statement.as_ref().unwrap().as_str().unwrap().replace("FROM stdin", "TO stdout");
            let mut command = program(server, "psql");
            command.args(["-X", "-q", "-d", &database, "-c", &copy]);
            assert_eq!(content, output(command), "{}", entry.tag.lossy());
        }
    }
}

#[test]
fn a_stream_that_ends_early_is_never_complete() {
    let Some(server) = PostgresServer::shared() else { return };
    let bytes = dumped(server, &everything(server));
    let archive = Archive::read(&mut bytes.as_slice()).unwrap();
    let toc = archive.to_bytes().len();
    for end in (0..toc).step_by(97) {
        assert!(Archive::read(&mut &bytes[..end]).is_err());
    }
    let ends = (toc..bytes.len()).step_by(bytes.len() / 61).chain(bytes.len() - 30..bytes.len());
    for end in ends {
        let mut splitter = Splitter::new(&bytes[toc..end], &archive).unwrap();
        let error = loop {
            match splitter.next_event() {
                Ok(Event::End) => panic!("complete after {end} bytes"),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(error, DumpError::Malformed(_)), "{error:?}");
    }
}
