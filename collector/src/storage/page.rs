//! A bounded slice of a list.

/// Entries to return on one page at most, whatever was asked for.
const PAGE_SIZE_MAX: u32 = 1000;

/// Which slice of a list to return; lists run from the newest entry to the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    number: u32,
    size: u32,
}

impl Page {
    /// Names page `number` (from 0) of a list cut into pages of `size` entries (1 to 1000; a size
    /// outside is brought to the nearest bound).
    pub fn new(number: u32, size: u32) -> Self {
        Self {
            number,
            size: size.clamp(1, PAGE_SIZE_MAX),
        }
    }

    /// Returns how many entries lie before this page.
    pub fn skip(self) -> usize {
        let skipped = u64::from(self.number) * u64::from(self.size);
        usize::try_from(skipped).unwrap_or(usize::MAX)
    }

    /// Returns how many entries the page holds at most.
    pub fn take(self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    /// Cuts this page out of `entries`.
    pub fn of<T>(self, entries: impl Iterator<Item = T>) -> Vec<T> {
        entries.skip(self.skip()).take(self.take()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_page_cuts_its_slice_and_an_empty_one_lies_behind_the_end() {
        assert_eq!(Page::new(1, 3).of(0..8), [3, 4, 5]);
        assert_eq!(Page::new(2, 3).of(0..8), [6, 7]);
        assert!(Page::new(u32::MAX, 1000).of(0..8).is_empty());
    }

    #[test]
    fn the_size_of_a_page_is_bounded_both_ways() {
        assert_eq!(Page::new(0, 0).take(), 1);
        assert_eq!(Page::new(0, u32::MAX).take(), 1000);
    }
}
