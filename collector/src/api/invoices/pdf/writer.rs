//! Writes an invoice onto pages from top to bottom. The head of the table stands on every page that has rows of it, and a line
//! stays with what explains it.

use pdf_writer::{Content, Str};

use super::font::{Font, encoded};
use super::{HEIGHT, WIDTH};
use crate::billing::paper::{Paper, Row};

const MARGIN: f32 = 40.0;
/// From one line to the next.
const STEP: f32 = 13.0;
const SIZE: f32 = 8.5;
/// Numbers too long for their column are set smaller, down to this.
const SMALLEST: f32 = 5.5;
/// Where the columns are: left edges of the texts, right edges of the numbers.
const HEAD_VALUE: f32 = MARGIN + 80.0;
const PERIOD: f32 = 190.0;
const QUANTITY: f32 = 384.0;
const UNIT_PRICE: f32 = 464.0;
const AMOUNT: f32 = WIDTH - MARGIN;
const PERIOD_ROOM: f32 = 102.0;
/// What lies between two columns.
const GAP: f32 = 6.0;
const INDENT: f32 = 10.0;
const BELOW_RULE: f32 = 0.3 * STEP;
/// A line with more rows of explanation than this may be parted.
const TOGETHER_MAX: f32 = 20.0 * STEP;
/// The lowest line of text; the page's number stands below.
const BOTTOM: f32 = MARGIN + 2.0 * STEP;

const BLACK: f32 = 0.0;
const GREY: f32 = 0.4;
const LIGHT: f32 = 0.85;

/// Returns the pages of an invoice.
pub(super) fn pages(paper: &Paper) -> Vec<Content> {
    let mut writer = Writer::new();
    writer.head(paper);
    writer.table(&paper.rows);
    writer.foot(&paper.foot);
    writer.remarks(&paper.remarks);
    writer.finish(&paper.number)
}

struct Writer {
    pages: Vec<Content>,
    content: Content,
    y: f32,
}

/// A row of the table, cut into lines.
struct Cut<'a> {
    row: &'a Row,
    texts: Vec<String>,
    periods: Vec<String>,
}

impl<'a> Cut<'a> {
    fn new(row: &'a Row) -> Self {
        // What explains has no period, and may take its room.
        let room = if row.is_detail && row.period.is_empty() {
            PERIOD + PERIOD_ROOM - MARGIN - INDENT
        } else {
            PERIOD - GAP - MARGIN
        };
        Self {
            row,
            texts: Font::Plain.lines(&row.text, SIZE, room),
            periods: Font::Plain.lines(&row.period, SIZE, PERIOD_ROOM),
        }
    }

    fn height(&self) -> f32 {
        let lines = self.texts.len().max(self.periods.len()).max(1);
        (0..lines).map(|_| STEP).sum()
    }
}

impl Writer {
    fn new() -> Self {
        Self {
            pages: Vec::new(),
            content: Content::new(),
            y: HEIGHT - MARGIN - STEP,
        }
    }

    fn head(&mut self, paper: &Paper) {
        self.left(
            Font::Bold,
            16.0,
            BLACK,
            MARGIN,
            &format!("Invoice {}", paper.number),
        );
        self.y -= 2.0 * STEP;
        for (name, value) in &paper.head {
            self.left(Font::Plain, SIZE, GREY, MARGIN, name);
            for line in Font::Plain.lines(value, SIZE, AMOUNT - HEAD_VALUE) {
                self.left(Font::Plain, SIZE, BLACK, HEAD_VALUE, &line);
                self.y -= STEP;
            }
        }
        self.y -= STEP;
    }

    fn table(&mut self, rows: &[Row]) {
        self.columns();
        let cut: Vec<Cut<'_>> = rows.iter().map(Cut::new).collect();
        for (place, line) in cut.chunk_by(|_, next| next.row.is_detail).enumerate() {
            let height: f32 = line.iter().map(Cut::height).sum();
            if height <= TOGETHER_MAX && !self.has_room(BELOW_RULE + height) {
                self.turn();
                self.columns();
            } else if place > 0 {
                self.rule(LIGHT);
            }
            for row in line {
                if !self.has_room(row.height()) {
                    self.turn();
                    self.columns();
                }
                self.row(row);
            }
        }
        self.rule(BLACK);
    }

    /// The table's head.
    fn columns(&mut self) {
        self.left(Font::Bold, SIZE, BLACK, MARGIN, "Description");
        self.left(Font::Bold, SIZE, BLACK, PERIOD, "Service period");
        for (edge, name) in [
            (QUANTITY, "Quantity"),
            (UNIT_PRICE, "Unit price"),
            (AMOUNT, "Amount"),
        ] {
            self.right(Font::Bold, BLACK, edge, f32::INFINITY, name);
        }
        self.y -= STEP;
        self.rule(BLACK);
    }

    fn row(&mut self, cut: &Cut<'_>) {
        let row = cut.row;
        let (indent, grey) = if row.is_detail {
            (INDENT, GREY)
        } else {
            (0.0, BLACK)
        };
        let numbers = [
            (QUANTITY, PERIOD + PERIOD_ROOM, &row.quantity),
            (UNIT_PRICE, QUANTITY, &row.unit_price),
            (AMOUNT, UNIT_PRICE, &row.amount),
        ];
        for (edge, before, number) in numbers {
            self.right(Font::Plain, grey, edge, edge - before - GAP, number);
        }
        let top = self.y;
        for (place, text) in (0_u8..).zip(&cut.texts) {
            self.y = top - STEP * f32::from(place);
            self.left(Font::Plain, SIZE, grey, MARGIN + indent, text);
        }
        for (place, period) in (0_u8..).zip(&cut.periods) {
            self.y = top - STEP * f32::from(place);
            self.left(Font::Plain, SIZE, grey, PERIOD, period);
        }
        self.y = top - cut.height();
    }

    /// Totals, on one page.
    fn foot(&mut self, foot: &[(&'static str, String)]) {
        let height: f32 = foot.iter().map(|_| STEP).sum();
        if !self.has_room(height) {
            self.turn();
        }
        for (name, amount) in foot {
            self.right(Font::Bold, BLACK, UNIT_PRICE, f32::INFINITY, name);
            self.right(Font::Bold, BLACK, AMOUNT, AMOUNT - UNIT_PRICE - GAP, amount);
            self.y -= STEP;
        }
        self.y -= STEP;
    }

    fn remarks(&mut self, remarks: &[String]) {
        for remark in remarks {
            for line in Font::Plain.lines(remark, SIZE, AMOUNT - MARGIN) {
                if !self.has_room(STEP) {
                    self.turn();
                }
                self.left(Font::Plain, SIZE, GREY, MARGIN, &line);
                self.y -= STEP;
            }
        }
    }

    /// Ends the last page, and numbers them all.
    fn finish(mut self, number: &str) -> Vec<Content> {
        self.turn();
        let count = self.pages.len();
        for (place, page) in (1..).zip(std::mem::take(&mut self.pages)) {
            self.content = page;
            self.y = MARGIN;
            let text = format!("Invoice {number}, page {place} of {count}");
            self.right(Font::Plain, GREY, AMOUNT, f32::INFINITY, &text);
            self.turn();
        }
        self.pages
    }

    fn has_room(&self, height: f32) -> bool {
        // The first line stands on `y` itself.
        self.y - height + STEP >= BOTTOM
    }

    /// Begins a page.
    fn turn(&mut self) {
        let full = std::mem::replace(&mut self.content, Content::new());
        self.pages.push(full);
        self.y = HEIGHT - MARGIN - STEP;
    }

    /// Draws a line over the whole width, between the row above and the one that comes.
    fn rule(&mut self, grey: f32) {
        let y = self.y + 0.72 * STEP;
        self.content
            .set_stroke_gray(grey)
            .set_line_width(0.75)
            .move_to(MARGIN, y)
            .line_to(AMOUNT, y)
            .stroke();
        self.y -= BELOW_RULE;
    }

    fn left(&mut self, font: Font, size: f32, grey: f32, x: f32, text: &str) {
        self.content
            .set_fill_gray(grey)
            .begin_text()
            .set_font(font.name(), size)
            .next_line(x, self.y)
            .show(Str(&encoded(text)))
            .end_text();
    }

    /// Sets a text to end at `edge`, smaller where it would not fit into `room`.
    fn right(&mut self, font: Font, grey: f32, edge: f32, room: f32, text: &str) {
        let fitting = SIZE * room / font.width(text, SIZE).max(1.0);
        let size = fitting.clamp(SMALLEST, SIZE);
        self.left(font, size, grey, edge - font.width(text, size), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(is_detail: bool, text: String) -> Row {
        Row {
            is_detail,
            text,
            quantity: "12 calls".to_owned(),
            amount: "1.20 USD".to_owned(),
            ..Row::default()
        }
    }

    fn paper(lines: usize, details: usize) -> Paper {
        let line = |line: usize| {
            let details = (0..details).map(move |detail| row(true, format!("d{line}-{detail}.")));
            std::iter::once(row(false, format!("line{line}."))).chain(details)
        };
        Paper {
            number: "2025-1".to_owned(),
            head: vec![("Customer", "a".repeat(300))],
            rows: (0..lines).flat_map(line).collect(),
            foot: vec![("Total", "9.00 USD".to_owned())],
            remarks: vec!["All had arrived.".to_owned()],
        }
    }

    fn texts(paper: &Paper) -> Vec<String> {
        let text = |page: Content| String::from_utf8_lossy(&page.finish()).into_owned();
        pages(paper).into_iter().map(text).collect()
    }

    #[test]
    fn every_page_of_the_table_has_its_head_and_its_number() {
        let pages = texts(&paper(70, 1));
        assert!(pages.len() > 2, "{}", pages.len());
        for (place, page) in (1..).zip(&pages) {
            assert!(page.contains("Service period"), "page {place}");
            let number = format!("page {place} of {}", pages.len());
            assert!(page.contains(&number), "{number}");
        }
        for line in 0..70 {
            let detail = format!("d{line}-0.");
            let held = |page: &&String| page.contains(&format!("(line{line}.)"));
            let page = pages.iter().find(held).map(|page| page.contains(&detail));
            assert_eq!(page, Some(true), "line {line} is parted from its detail");
        }
    }

    #[test]
    fn a_line_longer_than_a_page_goes_on_over_pages() {
        let pages = texts(&paper(1, 200));
        let rows = pages.concat().matches("(d0-").count();
        assert_eq!(rows, 200);
        assert!(pages.len() > 3);
    }

    #[test]
    fn a_number_too_long_for_its_column_is_set_smaller() {
        let mut paper = paper(1, 0);
        paper.rows[0].amount = "1234567.000000000375 USD".to_owned();
        let page = texts(&paper).concat();
        assert!(page.contains("/F1 6."), "{page}");
    }
}
