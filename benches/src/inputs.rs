//! What is backed up: a stream as `pg_dump` writes it, and a tree of small files. The same bytes in each run.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

/// Changed rows lie together in this many places.
const CLUSTERS: u64 = 20;
const WORDS: [&str; 48] = [
    "account", "almost", "between", "border", "careful", "change", "coffee", "corner", "delivery", "desk", "early",
    "engine", "evening", "failure", "final", "follow", "garden", "glass", "harbour", "history", "invoice", "island",
    "kitchen", "ladder", "letter", "market", "meeting", "morning", "number", "office", "order", "paper", "people",
    "picture", "quarter", "question", "record", "river", "season", "signal", "station", "street", "ticket", "travel",
    "village", "window", "winter", "yellow",
];

/// splitmix64: a good mix of one number, so that a row depends on its number alone.
fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn row(text: &mut String, number: u64, salt: u64) {
    let one = mix(number ^ salt);
    let two = mix(one);
    let three = mix(two);
    let word = |bits: u64| WORDS[(bits % WORDS.len() as u64) as usize];
    let _ = write!(
        text,
        "{number}\t{one:016x}{two:016x}\t{} {}\t{}.{}{}@example.org\t2025-{:02}-{:02} {:02}:{:02}:{:02}.{:06}+00\t{}.{:02}\t{}\t",
        word(one >> 8),
        word(two >> 8),
        word(one >> 16),
        word(two >> 16),
        three % 10_000,
        one % 12 + 1,
        two % 28 + 1,
        three % 24,
        one % 60,
        two % 60,
        three % 1_000_000,
        two % 100_000,
        one % 100,
        if one.is_multiple_of(3) { "\\N" } else { "t" },
    );
    let mut bits = three;
    for _ in 0..(two >> 40) % 24 {
        bits = mix(bits);
        text.push_str(word(bits));
        text.push(' ');
    }
    text.push('\n');
}

/// Writes a dump-like stream of about `length` bytes. With `changed_percent`, that share of the rows differs from those of the stream
/// without, in [`CLUSTERS`] runs of rows.
pub fn dump(target: &Path, length: u64, changed_percent: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(target)?);
    let mut text = String::from(
        "--\n-- PostgreSQL database dump\n--\n\nCOPY public.bookings (id, token, title, email, made, price, paid, note) FROM stdin;\n",
    );
    // A row has 240 bytes on average; only the spread of the clusters depends on the guess.
    let spacing = (length / 240 / CLUSTERS).max(1);
    let (mut written, mut number) = (0, 0);
    while written < length {
        let changed = number % spacing < spacing * changed_percent / 100;
        row(&mut text, number, if changed { 0x5151 } else { 0 });
        number += 1;
        if text.len() > 1 << 16 {
            file.write_all(text.as_bytes())?;
            written += text.len() as u64;
            text.clear();
        }
    }
    file.write_all(text.as_bytes())?;
    file.write_all(b"\\.\n")?;
    file.into_inner()?.sync_all()
}

/// Makes a tree of `files` small files (512 bytes to 24 KiB), 100 in each folder; one in four holds bytes that do not compress.
pub fn tree(target: &Path, files: u64) -> io::Result<()> {
    let mut text = String::new();
    for number in 0..files {
        let folder = target.join(format!("{:03}", number / 10_000)).join(format!("{:02}", number / 100 % 100));
        if number % 100 == 0 {
            fs::create_dir_all(&folder)?;
        }
        let mixed = mix(number);
        let length = 512 + (mixed % 24_064) as usize;
        let content = if mixed >> 60 < 4 {
            (0..length as u64 / 8 + 1).flat_map(|at| mix(mixed ^ at).to_le_bytes()).take(length).collect()
        } else {
            text.clear();
            while text.len() < length {
                let at = text.len() as u64;
                row(&mut text, mixed.wrapping_add(at), 7);
            }
            text.as_bytes()[..length].to_vec()
        };
        fs::write(folder.join(format!("file-{number:06}.txt")), content)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_one_row_in_a_hundred_differs_in_the_changed_dump() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let (first, second) = (folder.path().join("1"), folder.path().join("2"));
        dump(&first, 20 << 20, 0)?;
        dump(&second, 20 << 20, 1)?;
        let (first, second) = (fs::read_to_string(first)?, fs::read_to_string(second)?);
        let rows = first.lines().count();
        let differing = first.lines().zip(second.lines()).filter(|(one, two)| one != two).count();
        assert!((rows / 200..rows / 50).contains(&differing), "{differing} of {rows}");
        Ok(())
    }
}
