//! NDJSON: a body of any length as a sequence of blocks of whole lines, with bounded memory.
//!
//! A line longer than any event can be is not kept: its first bytes stand for it, so that it is reported as one bad line
//! and the lines after it still count.

use std::mem;

/// Longest line that can hold an event: 50 pairs of 100 + 500 characters, each escaped as `\uXXXX` in UTF-16 pairs,
/// with room for ids and white space.
pub(crate) const LINE_BYTES_MAX: usize = 512 * 1024;

/// Gathers pieces of a body into lines.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Whole lines, each with its newline.
    whole: Vec<u8>,
    count: usize,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    skipping: bool,
}

/// What one line holds.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Line<'a> {
    /// Nothing but white space.
    Blank,
    /// Text, without its line end.
    Text(&'a str),
    /// Bytes that are not UTF-8.
    NotUtf8,
    /// More than [`LINE_BYTES_MAX`] bytes.
    TooLong,
}

/// Whole lines taken out of a body.
#[derive(Debug, Default)]
pub(crate) struct Block {
    bytes: Vec<u8>,
    count: usize,
}

impl Lines {
    /// Takes the next piece, up to and with its first `lines_max` line ends beyond those already held. Returns how many
    /// bytes of the piece were taken; the caller brings the rest after it took the block.
    pub(crate) fn push(&mut self, piece: &[u8], lines_max: usize) -> usize {
        let mut taken = 0;
        while taken < piece.len() && self.count < lines_max {
            let rest = &piece[taken..];
            match rest.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    self.extend(&rest[..end]);
                    self.end_line();
                    taken += end + 1;
                }
                None => {
                    self.extend(rest);
                    taken = piece.len();
                }
            }
        }
        taken
    }

    /// The body is at its end: a last line without line end is a line too.
    pub(crate) fn finish(&mut self) {
        if !self.partial.is_empty() {
            self.end_line();
        }
    }

    /// Whole lines held.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.whole.len() + self.partial.len()
    }

    /// Takes the whole lines out.
    pub(crate) fn take(&mut self) -> Block {
        Block {
            bytes: mem::take(&mut self.whole),
            count: mem::take(&mut self.count),
        }
    }

    fn extend(&mut self, bytes: &[u8]) {
        if self.skipping {
            return;
        }
        let room = (LINE_BYTES_MAX + 1).saturating_sub(self.partial.len());
        self.partial
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        self.skipping = self.partial.len() > LINE_BYTES_MAX;
    }

    fn end_line(&mut self) {
        self.whole.append(&mut self.partial);
        self.whole.push(b'\n');
        self.count += 1;
        self.skipping = false;
    }
}

impl Block {
    /// Number of lines, blank ones counted.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The lines as they are sent on, each with its newline.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The lines in order.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.bytes
            .split_inclusive(|&byte| byte == b'\n')
            .map(read_line)
    }
}

fn read_line(line: &[u8]) -> Line<'_> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    if line.len() > LINE_BYTES_MAX {
        return Line::TooLong;
    }
    match std::str::from_utf8(line) {
        Ok(text) if text.trim_ascii().is_empty() => Line::Blank,
        Ok(text) => Line::Text(text.trim_ascii()),
        Err(_) => Line::NotUtf8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &[&[u8]], lines_max: usize) -> Vec<(usize, Vec<String>)> {
        let mut lines = Lines::default();
        let mut blocks = Vec::new();
        let mut take = |lines: &mut Lines| {
            let block = lines.take();
            blocks.push((
                block.count(),
                block.lines().map(|line| format!("{line:?}")).collect(),
            ));
        };
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let taken = lines.push(rest, lines_max);
                rest = &rest[taken..];
                if lines.count() >= lines_max {
                    take(&mut lines);
                }
            }
        }
        lines.finish();
        take(&mut lines);
        blocks
    }

    #[test]
    fn lines_do_not_depend_on_how_the_body_was_cut() {
        let body = b"{\"a\":1}\r\n\n {\"b\":2}\nlast";
        let expected = texts(&[body], 100);
        assert_eq!(
            expected,
            [(
                4,
                vec![
                    "Text(\"{\\\"a\\\":1}\")".to_owned(),
                    "Blank".to_owned(),
                    "Text(\"{\\\"b\\\":2}\")".to_owned(),
                    "Text(\"last\")".to_owned(),
                ]
            )]
        );
        for cut in 0..body.len() {
            assert_eq!(
                texts(&[&body[..cut], &body[cut..]], 100),
                expected,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn blocks_hold_no_more_lines_than_asked() {
        let counts: Vec<usize> = texts(&[b"1\n2\n3\n4\n5"], 2)
            .into_iter()
            .map(|(count, _)| count)
            .collect();
        assert_eq!(counts, [2, 2, 1]);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory_and_spoils_no_other() {
        let mut lines = Lines::default();
        for _ in 0..100 {
            lines.push(&vec![b'x'; 100_000], 10);
        }
        assert!(lines.bytes() <= LINE_BYTES_MAX + 1);
        lines.push(b"\nnext\n\xff\n", 10);
        let block = lines.take();
        assert_eq!(
            block.lines().collect::<Vec<_>>(),
            [Line::TooLong, Line::Text("next"), Line::NotUtf8]
        );
    }
}
