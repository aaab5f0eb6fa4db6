//! Pages of a list, and the cursors between them.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

/// Things that one call looks at, at most.
const LOOKS_MAX: usize = 50_000;

/// A part of a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Page<T> {
    /// The things found; each carries its own `cursor`.
    pub(crate) items: Vec<T>,
    /// Where to go on, when there may be more.
    pub(crate) next: Option<String>,
}

/// Which part of a list is wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Paging {
    /// Goes on behind this cursor.
    pub(crate) after: Option<String>,
    /// Most things to return.
    pub(crate) limit: usize,
}

/// A page in the making.
pub(super) struct Gathering<T> {
    page: Page<T>,
    limit: usize,
    looks: usize,
}

impl<T> Gathering<T> {
    pub(super) fn new(limit: usize) -> Self {
        let page = Page {
            items: Vec::new(),
            next: None,
        };
        Self {
            page,
            limit: limit.max(1),
            looks: 0,
        }
    }

    /// Takes what was looked at: the item, if it was wanted, and where it stands.
    pub(super) fn take(
        &mut self,
        item: Option<T>,
        cursor: impl FnOnce() -> String,
    ) -> ControlFlow<()> {
        self.looks += 1;
        self.page.items.extend(item);
        if self.page.items.len() < self.limit && self.looks < LOOKS_MAX {
            return ControlFlow::Continue(());
        }
        self.page.next = Some(cursor());
        ControlFlow::Break(())
    }

    /// Ends the page early: this call has read enough.
    pub(super) fn stop(&mut self, cursor: impl FnOnce() -> String) -> ControlFlow<()> {
        self.page.next = Some(cursor());
        ControlFlow::Break(())
    }

    pub(super) fn finish(self) -> Page<T> {
        self.page
    }
}

/// A key as a cursor.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a text never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A cursor as a key again.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        })
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_the_way_through_a_cursor() {
        let key = [0, 1, 0xab, 0xff];
        assert_eq!(to_hex(&key), "0001abff");
        assert_eq!(from_hex("0001abff").as_deref(), Some(key.as_slice()));
        for wrong in ["0", "zz", "0x", "é1"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
