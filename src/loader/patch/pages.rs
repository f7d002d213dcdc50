//! Grouping slot writes by page. Pure.

use relink_elf::address::RunAddr;

/// One word to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SlotWrite {
    /// Where.
    pub at: RunAddr,
    /// What must be there before.
    pub expected: u64,
    /// What shall be there after.
    pub value: u64,
}

/// The writes to one page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageWrites {
    /// First address of the page.
    pub page: RunAddr,
    /// The writes in order of address.
    pub writes: Vec<SlotWrite>,
}

/// The same writes, grouped by page in order of address. `page_size` in bytes, a power of two. A slot is an aligned
/// word, so none crosses a page.
pub fn by_page(mut writes: Vec<SlotWrite>, page_size: u64) -> Vec<PageWrites> {
    writes.sort_by_key(|w| w.at);
    let mut pages: Vec<PageWrites> = Vec::new();
    for write in writes {
        let page = write.at.page_start(page_size);
        match pages.last_mut().filter(|p| p.page == page) {
            Some(last) => last.writes.push(write),
            None => pages.push(PageWrites { page, writes: vec![write] }),
        }
    }
    pages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_in_order_and_complete() {
        let write = |at| SlotWrite { at: RunAddr(at), expected: 0, value: at };
        let pages = by_page([0x3008, 0x1000, 0x2ff8, 0x1ff8, 0x3000].map(write).to_vec(), 0x1000);
        let shape: Vec<_> =
            pages.iter().map(|p| (p.page.0, p.writes.iter().map(|w| w.at.0).collect::<Vec<_>>())).collect();
        assert_eq!(
            shape,
            [(0x1000, vec![0x1000, 0x1ff8]), (0x2000, vec![0x2ff8]), (0x3000, vec![0x3000, 0x3008])]
        );
        assert_eq!(by_page([0x1000, 0x5000].map(write).to_vec(), 0x10000).len(), 1);
    }
}
