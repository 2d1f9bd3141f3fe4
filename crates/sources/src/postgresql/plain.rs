//! Plain SQL of a part: what `pg_restore` makes of the archive, while it passes. Nothing is kept on a disk.

use std::{
    io::{self, Read, Write},
    process::{Child, ChildStdin, ExitStatus, Stdio},
    sync::Arc,
    thread,
};

use super::{dump::Assembled, settings::Settings, tools::Tools};
use crate::{ErrorKind, PartReader, RandomRead, Result, SourceError};

/// Read and written at once, bytes.
const PORTION_BYTES: usize = 256 * 1024;
/// Of what the program says, this much is kept for the error's sentence, bytes.
const COMPLAINT_BYTES: u64 = 4096;

/// Writes SQL for `psql` of the version of our tools. `Ok` means that all of it was written.
///
/// # Errors
/// [`ErrorKind::Missing`] without `pg_restore`, [`ErrorKind::Store`] where the part cannot be read, [`ErrorKind::Full`]
/// and [`ErrorKind::Unavailable`] where `out` takes no more.
pub(super) fn plain_sql(settings: &Settings, part: Arc<dyn PartReader>, out: &mut dyn Write) -> Result<()> {
    let archive = Assembled::open(Arc::clone(&part))?;
    let mut command = Tools::find(settings)?.command("pg_restore", settings, "trivault export", 0);
    command.args(["-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| {
        SourceError::new(ErrorKind::Missing, "The program pg_restore does not start.").because(error)
    })?;
    let (fed, written, complaint, status) = run(&mut child, archive, part.as_ref(), out);
    // The first cause first: a part that cannot be read makes the program fail too.
    fed?;
    written?;
    let status = status
        .map_err(|error| SourceError::new(ErrorKind::Internal, "pg_restore cannot be waited for.").because(error))?;
    if status.success() {
        return Ok(());
    }
    let last = complaint.lines().last().unwrap_or("it says nothing").trim_end_matches('.').to_owned();
    Err(SourceError::new(ErrorKind::Invalid, format!("pg_restore cannot make SQL of the archive: {last}."))
        .hint("The tools must be at least as new as the pg_dump that the backup was made with."))
}

type Outcome = (Result<()>, Result<()>, String, io::Result<ExitStatus>);

/// Feeds the program, hears what it complains of, and passes its output on, all at the same time.
fn run(
    child: &mut Child,
    archive: Assembled<Arc<dyn PartReader>>,
    part: &dyn PartReader,
    out: &mut dyn Write,
) -> Outcome {
    let (input, output, complaints) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    thread::scope(|scope| {
        let feeder = scope.spawn(move || feed(archive, part, input));
        let listener = scope.spawn(move || listen(complaints));
        let written = pass_on(output, out);
        if written.is_err() {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
        }
        let fed =
            feeder.join().unwrap_or_else(|_| Err(SourceError::new(ErrorKind::Internal, "Reading the backup failed.")));
        let complaint = listener.join().unwrap_or_default();
        (fed, written, complaint, child.wait())
    })
}

/// Writes the archive into the program, as far as it wants it.
fn feed(mut archive: Assembled<Arc<dyn PartReader>>, part: &dyn PartReader, input: Option<ChildStdin>) -> Result<()> {
    let Some(mut input) = input else { return Ok(()) };
    let mut portion = vec![0; PORTION_BYTES];
    let mut offset = 0;
    while offset < archive.length() {
        if part.is_cancelled() {
            return Err(SourceError::cancelled());
        }
        let read = archive.read_at(offset, &mut portion)?;
        if input.write_all(&portion[..read]).is_err() {
            // The program has ended; its exit status says whether that is an error.
            return Ok(());
        }
        offset += read as u64;
    }
    Ok(())
}

/// The beginning of what the program says; the rest is read too, for it would wait otherwise.
fn listen(complaints: Option<impl Read>) -> String {
    let Some(mut complaints) = complaints else { return String::new() };
    let mut kept = Vec::new();
    let _ = complaints.by_ref().take(COMPLAINT_BYTES).read_to_end(&mut kept);
    let _ = io::copy(&mut complaints, &mut io::sink());
    String::from_utf8_lossy(&kept).into_owned()
}

fn pass_on(output: Option<impl Read>, out: &mut dyn Write) -> Result<()> {
    let Some(mut output) = output else { return Ok(()) };
    let mut portion = vec![0; PORTION_BYTES];
    loop {
        let read = match output.read(&mut portion) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                return Err(SourceError::new(ErrorKind::Internal, "pg_restore cannot be read from.").because(error));
            }
        };
        out.write_all(&portion[..read]).map_err(writing)?;
    }
    out.flush().map_err(writing)
}

fn writing(error: io::Error) -> SourceError {
    let kind = if error.kind() == io::ErrorKind::StorageFull { ErrorKind::Full } else { ErrorKind::Unavailable };
    SourceError::new(kind, format!("The SQL cannot be written: {error}.")).because(error)
}
