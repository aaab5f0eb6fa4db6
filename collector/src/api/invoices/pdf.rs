//! `GET /v1/invoices/{id}/pdf`: the invoice as a file to send and keep.
//!
//! A4 in one of the fonts that every reader has, so that nothing is embedded. Its characters are those of Windows-1252; others
//! are shown as a question mark, and stand in full in the JSON and on the page.

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use pdf_writer::{Content, Finish as _, Name, Pdf, Rect, Ref, Str};

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::state::ApiState;
use super::found;
use crate::billing::paper::{Paper, Row, paper};

/// A4 in points.
const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;
const MARGIN: f32 = 48.0;
/// From one row to the next.
const ROW: f32 = 14.0;
const SIZE: f32 = 8.5;
/// Where the columns are: left edges of the texts, right edges of the numbers.
const PERIOD: f32 = 215.0;
const QUANTITY: f32 = 405.0;
const UNIT_PRICE: f32 = 470.0;
const AMOUNT: f32 = WIDTH - MARGIN;
/// Characters that fit beside the next column.
const TEXT_CHARACTERS: usize = 36;

const PLAIN: Name<'_> = Name(b"F1");
const BOLD: Name<'_> = Name(b"F2");

/// `GET /v1/invoices/{id}/pdf`.
pub(in super::super) async fn pdf(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    query.finish()?;
    let paper = paper(&found(&state, &id).await?);
    let name = format!("attachment; filename=\"{}.pdf\"", paper.number);
    let headers = [
        (CONTENT_TYPE, "application/pdf".to_owned()),
        (CONTENT_DISPOSITION, name),
    ];
    Ok((headers, document(&paper)).into_response())
}

fn document(paper: &Paper) -> Vec<u8> {
    let pages = pages(paper);
    let (catalog, tree, plain, bold) = (Ref::new(1), Ref::new(2), Ref::new(3), Ref::new(4));
    let page_refs: Vec<(Ref, Ref)> = (0..)
        .map(|place: i32| (Ref::new(5 + 2 * place), Ref::new(6 + 2 * place)))
        .take(pages.len())
        .collect();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree)
        .kids(page_refs.iter().map(|(page, _)| *page))
        .count(i32::try_from(pages.len()).unwrap_or(i32::MAX));
    for (font, name) in [(plain, &b"Helvetica"[..]), (bold, b"Helvetica-Bold")] {
        pdf.type1_font(font)
            .base_font(Name(name))
            .encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for ((page_ref, content_ref), content) in page_refs.into_iter().zip(pages) {
        let mut page = pdf.page(page_ref);
        page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT))
            .parent(tree)
            .contents(content_ref);
        let mut resources = page.resources();
        resources.fonts().pair(PLAIN, plain).pair(BOLD, bold);
        resources.finish();
        page.finish();
        pdf.stream(content_ref, &content.finish());
    }
    pdf.finish()
}

/// The pages, written from top to bottom.
fn pages(paper: &Paper) -> Vec<Content> {
    let mut writer = Writer::new();
    writer.left(BOLD, 16.0, MARGIN, &format!("Invoice {}", paper.number));
    writer.down(2.0);
    for (name, value) in &paper.head {
        writer.left(PLAIN, SIZE, MARGIN, name);
        writer.left(PLAIN, SIZE, MARGIN + 80.0, value);
        writer.down(1.0);
    }
    writer.down(1.0);
    writer.columns();
    for row in &paper.rows {
        writer.row(row);
    }
    writer.down(0.5);
    for (name, amount) in &paper.foot {
        writer.left(BOLD, SIZE, PERIOD, name);
        writer.right(BOLD, SIZE, AMOUNT, amount);
        writer.down(1.0);
    }
    writer.down(1.0);
    for remark in &paper.remarks {
        for line in wrapped(remark, 100) {
            writer.left(PLAIN, SIZE, MARGIN, &line);
            writer.down(1.0);
        }
    }
    writer.pages.push(writer.content);
    writer.pages
}

struct Writer {
    pages: Vec<Content>,
    content: Content,
    y: f32,
}

impl Writer {
    fn new() -> Self {
        Self {
            pages: Vec::new(),
            content: Content::new(),
            y: HEIGHT - MARGIN,
        }
    }

    /// Goes down by so many rows; onto a new page where this one ends.
    fn down(&mut self, rows: f32) {
        self.y -= ROW * rows;
        if self.y < MARGIN {
            self.pages
                .push(std::mem::replace(&mut self.content, Content::new()));
            self.y = HEIGHT - MARGIN;
        }
    }

    fn columns(&mut self) {
        self.left(BOLD, SIZE, MARGIN, "Description");
        self.left(BOLD, SIZE, PERIOD, "Service period");
        self.right(BOLD, SIZE, QUANTITY, "Quantity");
        self.right(BOLD, SIZE, UNIT_PRICE, "Unit price");
        self.right(BOLD, SIZE, AMOUNT, "Amount");
        self.down(1.25);
    }

    fn row(&mut self, row: &Row) {
        let indent = if row.is_detail { 10.0 } else { 0.0 };
        let texts = wrapped(&row.text, TEXT_CHARACTERS);
        let periods = wrapped(&row.period, 27);
        self.right(PLAIN, SIZE, QUANTITY, &row.quantity);
        self.right(PLAIN, SIZE, UNIT_PRICE, &row.unit_price);
        self.right(PLAIN, SIZE, AMOUNT, &row.amount);
        for place in 0..texts.len().max(periods.len()).max(1) {
            if let Some(text) = texts.get(place) {
                self.left(PLAIN, SIZE, MARGIN + indent, text);
            }
            if let Some(period) = periods.get(place) {
                self.left(PLAIN, SIZE, PERIOD, period);
            }
            self.down(1.0);
        }
    }

    fn left(&mut self, font: Name<'_>, size: f32, x: f32, text: &str) {
        let bytes = windows_1252(text);
        self.content
            .begin_text()
            .set_font(font, size)
            .next_line(x, self.y)
            .show(Str(&bytes))
            .end_text();
    }

    fn right(&mut self, font: Name<'_>, size: f32, x: f32, text: &str) {
        self.left(font, size, x - width(text) * size / 1000.0, text);
    }
}

/// Cuts a text between words into lines of at most so many characters.
fn wrapped(text: &str, characters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= characters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Width in thousandths of the size. Digits of Helvetica are all as wide, plain and bold, so that numbers align; letters are
/// only roughly known, which is enough for a unit behind a number.
fn width(text: &str) -> f32 {
    let of = |character: char| match character {
        '.' | ',' | ' ' | 'i' | 'l' | 'j' | 't' | 'f' | 'I' => 278.0,
        '-' => 333.0,
        'A'..='Z' => 680.0,
        'm' | 'w' => 800.0,
        _ => 556.0,
    };
    text.chars().map(of).sum()
}

/// What lies in the font's encoding; anything else becomes a question mark.
fn windows_1252(text: &str) -> Vec<u8> {
    let byte = |character: char| match character {
        '\u{20}'..='\u{7e}' | '\u{a0}'..='\u{ff}' => {
            u8::try_from(u32::from(character)).unwrap_or(b'?')
        }
        '€' => 0x80,
        '–' => 0x96,
        '—' => 0x97,
        '’' => 0x92,
        '“' => 0x93,
        '”' => 0x94,
        _ => b'?',
    };
    text.chars().map(byte).collect()
}
