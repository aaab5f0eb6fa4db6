//! `GET /v1/invoices/{id}/pdf`: the invoice as a file to send and keep.
//!
//! A4 in one of the fonts that every reader has, so that nothing is embedded. Its characters are those of Windows-1252; others
//! are shown as a question mark, and stand in full in the JSON and on the page.

mod font;
mod writer;

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use pdf_writer::{Finish as _, Name, Pdf, Rect, Ref};

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::state::ApiState;
use super::found;
use crate::billing::paper::{Paper, paper};
use font::Font;

/// A4 in points.
const WIDTH: f32 = 595.0;
const HEIGHT: f32 = 842.0;

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
    let pages = writer::pages(paper);
    let (catalog, tree, fonts) = (Ref::new(1), Ref::new(2), [Ref::new(3), Ref::new(4)]);
    let page_refs: Vec<(Ref, Ref)> = (0..)
        .map(|place: i32| (Ref::new(5 + 2 * place), Ref::new(6 + 2 * place)))
        .take(pages.len())
        .collect();
    let mut pdf = Pdf::new();
    pdf.catalog(catalog).pages(tree);
    pdf.pages(tree)
        .kids(page_refs.iter().map(|(page, _)| *page))
        .count(i32::try_from(pages.len()).unwrap_or(i32::MAX));
    for (font, reference) in Font::ALL.into_iter().zip(fonts) {
        pdf.type1_font(reference)
            .base_font(font.base())
            .encoding_predefined(Name(b"WinAnsiEncoding"));
    }
    for ((page_ref, content_ref), content) in page_refs.into_iter().zip(pages) {
        let mut page = pdf.page(page_ref);
        page.media_box(Rect::new(0.0, 0.0, WIDTH, HEIGHT))
            .parent(tree)
            .contents(content_ref);
        let mut resources = page.resources();
        let named = Font::ALL.map(Font::name).into_iter().zip(fonts);
        resources.fonts().pairs(named);
        resources.finish();
        page.finish();
        pdf.stream(content_ref, &content.finish());
    }
    pdf.finish()
}
