//! The layout of a directory's download, written while the directory is captured.
//!
//! A download is a tar that is never stored: its headers are made anew from the layout and its contents read from the
//! part. The layout lists the members in the order of the walk, each with all that its header needs and with the length
//! and CRC-32 of its content. It is made of blocks that can be read alone, and an index from the tar's offsets to the
//! blocks, so that any range of the download is found with a few small reads.
//!
//! Blocks say nothing of absolute offsets and end where a member's path says so: a file that grows or comes into being
//! changes one block and the index, and the rest is shared with the previous backup's layout.
//!
//! ```text
//! layout  := block* index footer
//! index   := (tar offset u64, layout offset u64)*      one for each block, little-endian as all numbers
//! footer  := "TVLAYOUT" version:u32 crc32:u32 members:u64 blocks:u64 index offset:u64 tar length:u64
//! ```

mod reader;
mod record;
mod writer;

pub(super) use reader::{Layout, PreviousChecksums};
pub(super) use record::{Member, MemberKind};
pub(super) use writer::LayoutWriter;

/// Name of the side stream.
pub(super) const STREAM: &str = "layout";

const MAGIC: &[u8; 8] = b"TVLAYOUT";
const VERSION: u32 = 1;
const FOOTER_BYTES: usize = 48;
const INDEX_ENTRY_BYTES: usize = 16;

/// Whatever its members are, a block that is longer than this is damage: bytes.
const BLOCK_LIMIT_BYTES: u64 = 64 * 1024 * 1024;

/// Compares two paths in the order of the walk: name by name, a directory before what is in it.
pub(super) fn walk_order(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    // A name holds no NUL, so the slash that ends one may count as less than every byte.
    let rank = |byte: u8| if byte == b'/' { 0 } else { byte };
    let common = left.iter().zip(right).take_while(|(left, right)| left == right).count();
    match (left.get(common), right.get(common)) {
        (None, None) => std::cmp::Ordering::Equal,
        (None, Some(_)) => std::cmp::Ordering::Less,
        (Some(_), None) => std::cmp::Ordering::Greater,
        (Some(left), Some(right)) => rank(*left).cmp(&rank(*right)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_the_walk_puts_a_directory_s_entries_right_behind_it() {
        let walked: [&[u8]; 8] = [b"", b"a", b"a/b", b"a/b/c", b"a/b.c", b"a!", b"a.b", b"b"];
        for (place, left) in walked.iter().enumerate() {
            for (other, right) in walked.iter().enumerate() {
                assert_eq!(walk_order(left, right), place.cmp(&other), "{left:?} {right:?}");
            }
        }
    }
}
