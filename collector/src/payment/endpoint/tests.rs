#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    id::{InvoiceId, PaymentId, SubscriptionId},
    money::Currency,
};
use submeter_common::{CustomerId, Timestamp};

fn charge(asked: u32) -> Charge {
    Charge {
        payment_id: PaymentId::from_text("pay_1"),
        invoice_id: InvoiceId::from_text("inv_1"),
        invoice_number: "INV-2025-000001".to_owned(),
        customer_id: CustomerId::new("acme").unwrap(),
        subscription_id: SubscriptionId::from_text("sub_1"),
        amount: 12_345,
        currency: Currency::USD,
        attempt: 2,
        asked,
        requested_at: Timestamp::parse("2025-02-01T00:00:00Z").unwrap(),
    }
}

fn answer(status: u16, body: &str) -> Answer {
    understood(StatusCode::from_u16(status).unwrap(), body.as_bytes())
}

#[test]
fn a_payment_is_asked_for_in_the_same_bytes_each_time() {
    assert_eq!(body(&charge(1)), body(&charge(7)));
    let body: serde_json::Value = serde_json::from_str(&body(&charge(1))).unwrap();
    let data = &body["data"];
    assert_eq!(
        (&data["amount"], &data["currency"]),
        (&json!(12_345), &json!("USD"))
    );
    assert_eq!(data["idempotency_key"], data["payment_id"]);
}

#[test]
fn only_words_of_the_contract_are_an_answer() {
    let reference = Some("ch_1".to_owned());
    assert_eq!(
        answer(200, r#"{"status":"succeeded","reference":"ch_1","more":1}"#),
        Answer::Succeeded {
            reference: reference.clone()
        }
    );
    assert_eq!(
        answer(
            201,
            r#"{"status":"failed","reference":"ch_1","reason":"card declined"}"#
        ),
        Answer::Failed {
            reason: "card declined".to_owned(),
            reference
        }
    );
    for processing in [answer(202, ""), answer(200, r#"{"status":"processing"}"#)] {
        assert_eq!(processing, Answer::Processing { reference: None });
    }
    for (status, body) in [
        (200, ""),
        (200, "ok"),
        (200, r#"{"status":"declined"}"#),
        (200, r#"{"reason":"card declined"}"#),
        (302, r#"{"status":"succeeded"}"#),
        (402, r#"{"status":"failed","reason":"card declined"}"#),
        (500, ""),
    ] {
        let answer = answer(status, body);
        assert!(
            matches!(answer, Answer::Unanswered { .. }),
            "{status} {body}: {answer:?}"
        );
    }
}

#[test]
fn words_of_others_are_cut_and_not_refused() {
    let long = format!(
        r#"{{"status":"failed","reason":"{}","reference":"\u0007"}}"#,
        "x".repeat(999)
    );
    assert_eq!(
        answer(200, &long),
        Answer::Failed {
            reason: "x".repeat(WORDS_CHARS_MAX),
            reference: None
        }
    );
}
