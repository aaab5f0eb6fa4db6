//! `GET /v1/invoices/{id}/html`: the invoice as a page for people and printers. It needs no script and loads nothing.

use axum::extract::{Path, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use super::super::error::ApiError;
use super::super::query::Query;
use super::super::state::ApiState;
use super::found;
use crate::billing::paper::{Paper, Row, paper};

/// How the page looks, on a screen and on paper.
const STYLE: &str = "body{font:14px/1.45 system-ui,sans-serif;max-width:60rem;margin:3rem auto;padding:0 1rem;color:#111}\
h1{font-size:1.5rem}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.5rem}dt{color:#666}dd{margin:0}\
table{border-collapse:collapse;width:100%;margin:2rem 0}th,td{padding:.35rem .5rem;text-align:left;vertical-align:top}\
th{border-bottom:2px solid #111}tr.line td{border-top:1px solid #ddd}tr.detail td{color:#666;font-size:.92em;padding-top:0}\
tr.detail td:first-child{padding-left:1.5rem}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
tfoot td{font-weight:600}tfoot td:first-child{text-align:right}tfoot tr:first-child td{border-top:2px solid #111}p{color:#666}\
dd,td:first-child{overflow-wrap:anywhere}.p{white-space:nowrap}tbody td:first-child{min-width:9rem}main{overflow-x:auto}tr{break-inside:avoid}tr.detail{break-before:avoid}\
@media print{body{margin:0;max-width:none;font-size:11px}main{overflow:visible}tfoot{display:table-row-group}}";

/// `GET /v1/invoices/{id}/html`.
pub(in super::super) async fn html(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Query,
) -> Result<Response, ApiError> {
    query.finish()?;
    let paper = paper(&found(&state, &id).await?);
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ];
    Ok((headers, page(&paper)).into_response())
}

fn page(paper: &Paper) -> String {
    let number = escaped(&paper.number);
    let head: String = paper
        .head
        .iter()
        .map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escaped(value)))
        .collect();
    let rows: String = paper.rows.iter().map(row).collect();
    let foot: String = paper
        .foot
        .iter()
        .map(|(name, amount)| {
            let amount = escaped(amount);
            format!("<tr><td colspan=\"4\">{name}</td><td class=\"n\">{amount}</td></tr>")
        })
        .collect();
    let remarks: String = paper
        .remarks
        .iter()
        .map(|remark| format!("<p>{}</p>", escaped(remark)))
        .collect();
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{number}</title><style>{STYLE}</style></head>\
         <body><h1>Invoice {number}</h1><dl>{head}</dl><main><table><thead><tr><th>Description</th><th class=\"p\">Service period</th>\
         <th class=\"n\">Quantity</th><th class=\"n\">Unit price</th><th class=\"n\">Amount</th></tr></thead>\
         <tbody>{rows}</tbody><tfoot>{foot}</tfoot></table></main>{remarks}</body></html>"
    )
}

fn row(row: &Row) -> String {
    let text = escaped(&row.text);
    let described = if row.is_detail && row.period.is_empty() {
        format!("<tr class=\"detail\"><td colspan=\"2\">{text}</td>")
    } else {
        // Its two moments stand below each other: a browser would part them within a date.
        let period = escaped(&row.period).replace(" to ", " to<br>");
        let class = if row.is_detail { "detail" } else { "line" };
        format!("<tr class=\"{class}\"><td>{text}</td><td class=\"p\">{period}</td>")
    };
    let numbers: String = [&row.quantity, &row.unit_price, &row.amount]
        .map(|number| format!("<td class=\"n\">{}</td>", escaped(number)))
        .concat();
    format!("{described}{numbers}</tr>")
}

/// Text as it may stand in a page, also inside an attribute.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
