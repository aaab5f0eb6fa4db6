//! An invoice as a page and as a PDF.

use serde_json::json;
use submeter_common::aggregate::Group;

use crate::running::{Agent, Running, counted, product};

#[tokio::test]
async fn an_invoice_is_a_page_and_a_pdf_with_every_number_in_full() {
    let running = Running::start().await;
    let api = &running.api;
    let meter = api.counter("<b>calls</b>").await;
    // A twentieth of a cent, ten calls free.
    let meters = json!([{"meter_id": meter, "price_per_unit": "0.05", "free_threshold": 10}]);
    let plan = api
        .create("/products", product(4900, meters), "product_id")
        .await;
    let mut agent = Agent::new(7);
    agent.register(api).await;
    let rows = vec![counted(
        "ada",
        &meter,
        "2026-02-03T00:00:00Z",
        Group::none(),
        30_010,
    )];
    let frame = agent.seal(rows, "2026-03-10T12:00:00Z");
    agent.send(api, frame).await.expect_success();
    api.customer("ada").await;
    let subscribed = api.subscribe("ada", &plan, "2026-02-01T00:00:00Z").await;
    let invoice = crate::billing::closing(&running, &subscribed).await;
    let id = invoice["invoice_id"].as_str().unwrap();

    let page = api.get(&format!("/v1/invoices/{id}/html")).await;
    let page = page.body.as_str().unwrap().to_owned();
    for expected in [
        "Invoice INV-2026-000002",
        "<td class=\"n\">0.0005</td><td class=\"n\">15.00 USD</td>",
        "<td colspan=\"2\">free of charge</td><td class=\"n\">10 calls</td><td class=\"n\">free</td><td class=\"n\">0.00 USD</td>",
        "&lt;b&gt;calls&lt;/b&gt;",
        "<td colspan=\"4\">Amount due</td><td class=\"n\">64.00 USD</td>",
    ] {
        assert!(page.contains(expected), "{expected} is not in {page}");
    }
    assert!(!page.contains("<b>calls"), "{page}");

    let pdf = api.get(&format!("/v1/invoices/{id}/pdf")).await;
    let pdf = pdf.body.as_str().unwrap().to_owned();
    assert!(pdf.starts_with("%PDF-1."), "{pdf}");
    assert!(pdf.trim_end().ends_with("%%EOF"));
    for expected in [
        "(INV-2026-000002)",
        "(0.0005)",
        "(15.00 USD)",
        "(64.00 USD)",
        "(10 calls)",
    ] {
        assert!(pdf.contains(expected), "{expected} is not in {pdf}");
    }
    assert_eq!(
        api.get("/v1/invoices/inv_none/pdf").await.status.as_u16(),
        404
    );
}
