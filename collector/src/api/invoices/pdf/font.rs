//! The two fonts that every reader has: which characters they hold, and how wide each is.

use pdf_writer::Name;

/// One of the fonts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Font {
    Plain,
    Bold,
}

impl Font {
    /// Both, in the order of the file.
    pub(super) const ALL: [Font; 2] = [Font::Plain, Font::Bold];

    /// What a page calls it.
    pub(super) const fn name(self) -> Name<'static> {
        match self {
            Font::Plain => Name(b"F1"),
            Font::Bold => Name(b"F2"),
        }
    }

    /// What readers know it by.
    pub(super) const fn base(self) -> Name<'static> {
        match self {
            Font::Plain => Name(b"Helvetica"),
            Font::Bold => Name(b"Helvetica-Bold"),
        }
    }

    /// How wide a text is at a size.
    pub(super) fn width(self, text: &str, size: f32) -> f32 {
        let widths = match self {
            Font::Plain => &PLAIN,
            Font::Bold => &BOLD,
        };
        let of = |character: char| f32::from(width_in(widths, character));
        text.chars().map(of).sum::<f32>() * size / 1000.0
    }

    /// Cuts a text into lines no wider than `room`: between words, and within a word that is wider by itself.
    pub(super) fn lines(self, text: &str, size: f32, room: f32) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for word in text.split_whitespace() {
            if let Some(line) = lines.last_mut() {
                let longer = format!("{line} {word}");
                if self.width(&longer, size) <= room {
                    *line = longer;
                    continue;
                }
            }
            lines.extend(self.pieces(word, size, room));
        }
        lines
    }

    fn pieces(self, word: &str, size: f32, room: f32) -> Vec<String> {
        let mut pieces = vec![String::new()];
        for character in word.chars() {
            let last = pieces.len() - 1;
            let longer = format!("{}{character}", pieces[last]);
            if self.width(&longer, size) <= room || pieces[last].is_empty() {
                pieces[last] = longer;
            } else {
                pieces.push(character.to_string());
            }
        }
        pieces
    }
}

/// Widths in thousandths of the size, from the space to the tilde, as the fonts' own tables have them.
type Widths = [u16; 95];

const PLAIN: Widths = [
    278, 278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556, 1015, 667, 667, 722, 722, 667,
    611, 778, 722, 278, 500, 667, 556, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667,
    667, 611, 278, 278, 278, 469, 556, 333, 556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500,
    222, 833, 556, 556, 556, 556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584,
];

const BOLD: Widths = [
    278, 333, 474, 556, 556, 889, 722, 238, 333, 333, 389, 584, 278, 333, 278, 278, 556, 556, 556,
    556, 556, 556, 556, 556, 556, 556, 333, 333, 584, 584, 584, 611, 975, 722, 722, 722, 722, 667,
    611, 778, 722, 278, 556, 722, 611, 833, 722, 778, 667, 778, 722, 667, 611, 722, 667, 944, 667,
    667, 611, 333, 278, 333, 584, 556, 333, 556, 611, 556, 611, 556, 333, 611, 611, 278, 278, 556,
    278, 889, 611, 611, 611, 611, 389, 556, 333, 611, 556, 778, 556, 556, 500, 389, 280, 389, 584,
];

fn width_in(widths: &Widths, character: char) -> u16 {
    let ascii = |character: char| {
        let place = u32::from(character).checked_sub(0x20)?;
        widths.get(usize::try_from(place).ok()?).copied()
    };
    match character {
        // A letter with an accent is as wide as without.
        'À'..='Å' => ascii('A'),
        'È'..='Ë' => ascii('E'),
        'Ì'..='Ï' => ascii('I'),
        'Ò'..='Ö' | 'Ø' => ascii('O'),
        'Ù'..='Ü' => ascii('U'),
        'Æ' | 'Œ' | '—' | '…' | '‰' | '™' => Some(1000),
        'æ' | 'œ' => Some(944),
        'ì'..='ï' => ascii('i'),
        'ç' => ascii('c'),
        '\u{a0}' | '·' => ascii(' '),
        other => match ascii(other) {
            Some(width) => Some(width),
            // All others of the encoding are at most as wide as a capital.
            None if other > '\u{ff}' || other.is_uppercase() => Some(778),
            None => Some(611),
        },
    }
    .unwrap_or(778)
}

/// Says a text in the fonts' encoding, Windows-1252; anything else becomes a question mark.
pub(super) fn encoded(text: &str) -> Vec<u8> {
    let byte = |character: char| match character {
        '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{ff}' => {
            u8::try_from(u32::from(character)).unwrap_or(b'?')
        }
        '€' => 0x80,
        '…' => 0x85,
        '‰' => 0x89,
        'Š' => 0x8a,
        'Œ' => 0x8c,
        'Ž' => 0x8e,
        '‘' => 0x91,
        '’' => 0x92,
        '“' => 0x93,
        '”' => 0x94,
        '•' => 0x95,
        '–' => 0x96,
        '—' => 0x97,
        '™' => 0x99,
        'š' => 0x9a,
        'œ' => 0x9c,
        'ž' => 0x9e,
        'Ÿ' => 0x9f,
        _ => b'?',
    };
    text.chars().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_wider_than_its_room_and_nothing_is_lost() {
        let word = "w".repeat(80);
        let text = format!("Müller & Søn, {word} 0.000000000375 per 1 000 tokens");
        for font in Font::ALL {
            let lines = font.lines(&text, 8.5, 145.0);
            assert!(lines.len() > 3, "{lines:?}");
            for line in &lines {
                assert!(font.width(line, 8.5) <= 145.0, "{line}");
            }
            let letters = |text: &str| text.replace(' ', "");
            assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }

    #[test]
    fn digits_are_all_as_wide_so_that_numbers_align() {
        for font in Font::ALL {
            for digit in '0'..='9' {
                assert!((font.width(&digit.to_string(), 1000.0) - 556.0).abs() < 0.01);
            }
        }
    }

    #[test]
    fn what_the_fonts_lack_becomes_a_question_mark() {
        assert_eq!(encoded("5 € – 株"), b"5 \x80 \x96 ?");
    }
}
