//! What is left of deleted rows inside of pages.
//!
//! With `secure_delete`, SQLite overwrites rows that are deleted, and pages that become free. It does not overwrite what
//! stays behind when rows move from one page of a tree to another as the tree is balanced: the copy lies in the part of
//! the page that holds nothing. This finds such parts by the file format (<https://sqlite.org/fileformat2.html#b_tree_pages>).

/// Bytes of the file's header, in front of the first page's tree.
const FILE_HEADER: usize = 100;

/// Bytes in front of a free block's own: the next one's place, and its length.
const BLOCK_HEADER: usize = 4;

/// Pages of other kinds begin with the number of a page. Below this number its first byte is none by which the pages of
/// trees are known; a file of pages of 4 KiB has as many from 128 GiB on.
pub(super) const MOST_PAGES: u32 = 0x0200_0000;

/// Overwrites with zeros what a page holds beside its rows. Returns whether there was anything else than zeros; pages that
/// belong to no tree are left alone.
pub(super) fn overwrite(page: &mut [u8], number: u32, reserved: usize) -> bool {
    let Some(spans) = empty_spans(page, number, reserved) else {
        return false;
    };
    let mut found = false;
    for (from, to) in spans {
        if let Some(span) = page.get_mut(from..to)
            && span.iter().any(|byte| *byte != 0)
        {
            span.fill(0);
            found = true;
        }
    }
    found
}

/// The parts of a tree's page that hold nothing; none when it is no such page, or not as one should be.
fn empty_spans(page: &[u8], number: u32, reserved: usize) -> Option<Vec<(usize, usize)>> {
    let header = if number == 1 { FILE_HEADER } else { 0 };
    let header_len = match page.get(header)? {
        // Inner pages of indexes and tables, and their leaves.
        0x02 | 0x05 => 12,
        0x0a | 0x0d => 8,
        _ => return None,
    };
    let usable = page.len().checked_sub(reserved)?;
    let cells = usize::from(short(page, header + 3)?);
    let content = match short(page, header + 5)? {
        0 => 65_536,
        start => usize::from(start),
    };
    let pointers = header + header_len;
    let pointers_end = pointers + 2 * cells;
    if pointers_end > content || content > usable {
        return None;
    }
    for cell in 0..cells {
        let at = usize::from(short(page, pointers + 2 * cell)?);
        if at < content || at >= usable {
            return None;
        }
    }
    let mut spans = vec![(pointers_end, content)];
    let mut block = usize::from(short(page, header + 1)?);
    let mut after = content;
    while block != 0 {
        let length = usize::from(short(page, block + 2)?);
        if block < after || length < BLOCK_HEADER || block + length > usable {
            return None;
        }
        spans.push((block + BLOCK_HEADER, block + length));
        after = block + length;
        block = usize::from(short(page, block)?);
    }
    Some(spans)
}

fn short(page: &[u8], at: usize) -> Option<u16> {
    let bytes = page.get(at..at.checked_add(2)?)?;
    bytes.try_into().ok().map(u16::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A leaf of a table with one row of ten bytes at the end, something in the middle, and a free block before the row.
    fn leaf() -> Vec<u8> {
        let mut page = vec![0; 512];
        page[..8].copy_from_slice(&[0x0d, 0x01, 0xe0, 0, 1, 0x01, 0xe0, 0]);
        page[8..10].copy_from_slice(&502_u16.to_be_bytes());
        page[480..484].copy_from_slice(&[0, 0, 0, 20]);
        page[490..495].copy_from_slice(b"block");
        page[200..205].copy_from_slice(b"moved");
        page[502..].copy_from_slice(b"0123456789");
        page
    }

    #[test]
    fn what_lies_beside_the_rows_is_overwritten_and_the_rows_are_not() {
        let mut page = leaf();
        assert!(overwrite(&mut page, 7, 0));
        let text = String::from_utf8_lossy(&page);
        assert!(!text.contains("moved") && !text.contains("block"));
        assert_eq!(&page[..10], &leaf()[..10]);
        assert_eq!(&page[480..484], &leaf()[480..484]);
        assert_eq!(&page[502..], b"0123456789");
        assert!(!overwrite(&mut page, 7, 0), "there is nothing more");
    }

    #[test]
    fn pages_that_are_no_trees_are_left_alone() {
        let other = [0, 0, 0, 9, b'a', b'b'].repeat(80);
        let mut bad_pointer = leaf();
        bad_pointer[8..10].copy_from_slice(&20_u16.to_be_bytes());
        let mut bad_block = leaf();
        bad_block[482..484].copy_from_slice(&400_u16.to_be_bytes());
        let mut bad_start = leaf();
        bad_start[5..7].copy_from_slice(&513_u16.to_be_bytes());
        for page in [
            other,
            bad_pointer,
            bad_block,
            bad_start,
            Vec::new(),
            vec![0x0d],
        ] {
            let mut tried = page.clone();
            assert!(!overwrite(&mut tried, 2, 0));
            assert_eq!(tried, page);
        }
    }
}
