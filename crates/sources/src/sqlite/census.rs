//! Rows counted from the pages as they stream by.
//!
//! Of each page two bytes are kept: how many cells it has if it looks like a leaf. When all were seen, each table's tree
//! is walked from its root; only interior pages (well under one in a hundred) are read once more, in the same
//! transaction. Free pages that still look like leaves are never reached, so they do not count.

use crate::Result;

/// Bookkeeping stops here: 2 bytes a page, 32 MiB. At 4096 bytes a page that is a database of 64 GiB.
pub(super) const LARGEST_PAGE_COUNT: u32 = 16 * 1024 * 1024;

const INTERIOR_INDEX: u8 = 2;
const INTERIOR_TABLE: u8 = 5;
const LEAF_INDEX: u8 = 10;
const LEAF_TABLE: u8 = 13;
/// The database's own header stands before the first page's.
const FILE_HEADER_BYTES: usize = 100;
/// Not a leaf. No page has as many cells: the smallest takes six bytes.
const NOT_A_LEAF: u16 = u16::MAX;

/// Reads a page again: number, and where to put it.
pub(super) type Fetch<'a> = dyn FnMut(u32, &mut Vec<u8>) -> Result<()> + 'a;

pub(super) struct Census {
    /// Cells of leaf n + 1.
    cells: Vec<u16>,
}

/// The header of a b-tree page.
struct Header {
    page_type: u8,
    cells: u16,
    /// Where the cell pointers begin.
    pointers: usize,
}

fn header(number: u32, page: &[u8]) -> Option<Header> {
    let start = if number == 1 { FILE_HEADER_BYTES } else { 0 };
    let page_type = *page.get(start)?;
    let cells = u16::from_be_bytes([*page.get(start + 3)?, *page.get(start + 4)?]);
    let pointers = match page_type {
        INTERIOR_INDEX | INTERIOR_TABLE => start + 12,
        LEAF_INDEX | LEAF_TABLE => start + 8,
        _ => return None,
    };
    Some(Header { page_type, cells, pointers })
}

impl Census {
    /// `None` when the database has more than [`LARGEST_PAGE_COUNT`] pages.
    pub(super) fn new(page_count: u32) -> Option<Self> {
        if page_count > LARGEST_PAGE_COUNT {
            return None;
        }
        Some(Self { cells: Vec::with_capacity(page_count as usize) })
    }

    /// Notes the next page; they come in order from 1.
    pub(super) fn see(&mut self, page: &[u8]) {
        let number = self.cells.len() as u32 + 1;
        self.cells.push(match header(number, page) {
            Some(Header { page_type: LEAF_INDEX | LEAF_TABLE, cells, .. }) => cells,
            _ => NOT_A_LEAF,
        });
    }

    /// Rows of the table whose tree begins at `root`; `None` when its pages do not form a tree.
    pub(super) fn rows(&self, root: u32, fetch: &mut Fetch<'_>) -> Result<Option<u64>> {
        let mut rows = 0;
        let mut visited = 0;
        let mut waiting = vec![root];
        let mut page = Vec::new();
        while let Some(number) = waiting.pop() {
            visited += 1;
            let Some(cells) = number.checked_sub(1).and_then(|index| self.cells.get(index as usize)) else {
                return Ok(None);
            };
            if visited > self.cells.len() {
                return Ok(None);
            }
            if *cells != NOT_A_LEAF {
                rows += u64::from(*cells);
                continue;
            }
            fetch(number, &mut page)?;
            let Some(found) = header(number, &page) else { return Ok(None) };
            // An interior cell of an index tree (a table WITHOUT ROWID) is a row itself.
            if found.page_type == INTERIOR_INDEX {
                rows += u64::from(found.cells);
            }
            if !push_children(&found, &page, &mut waiting) {
                return Ok(None);
            }
        }
        Ok(Some(rows))
    }
}

/// Adds the children of an interior page; false when it is damaged.
fn push_children(found: &Header, page: &[u8], waiting: &mut Vec<u32>) -> bool {
    let child = |at: usize| -> Option<u32> { Some(u32::from_be_bytes(page.get(at..at + 4)?.try_into().ok()?)) };
    let Some(right) = child(found.pointers - 4) else { return false };
    waiting.push(right);
    for cell in 0..usize::from(found.cells) {
        let Some(pointer) = page.get(found.pointers + 2 * cell..found.pointers + 2 * cell + 2) else { return false };
        match child(usize::from(u16::from_be_bytes([pointer[0], pointer[1]]))) {
            Some(number) => waiting.push(number),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_that_bites_its_tail_is_not_counted() {
        // Page 2 is an interior page without cells whose right child is itself.
        let mut page = vec![0; 512];
        page[0] = INTERIOR_TABLE;
        page[8..12].copy_from_slice(&2_u32.to_be_bytes());
        let mut census = Census::new(2).unwrap();
        census.see(&vec![0; 512]);
        census.see(&page);
        let mut fetch = |_: u32, into: &mut Vec<u8>| {
            into.clone_from(&page);
            Ok(())
        };
        assert_eq!(census.rows(2, &mut fetch).unwrap(), None);
        assert_eq!(census.rows(7, &mut fetch).unwrap(), None);
        assert_eq!(census.rows(0, &mut fetch).unwrap(), None);
    }

    #[test]
    fn bookkeeping_has_an_upper_limit() {
        assert!(Census::new(LARGEST_PAGE_COUNT).is_some());
        assert!(Census::new(LARGEST_PAGE_COUNT + 1).is_none());
    }
}
