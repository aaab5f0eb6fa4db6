//! `/v1/verify`: deriving again what was issued, booked and received, part by part.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use submeter_common::id::CustomerId;

use super::error::ApiError;
use super::query::Query;
use super::state::ApiState;
use crate::agents::Alarm;
use crate::billing::verify;
use crate::storage::{Page, SubscriptionFilter};

/// Subscriptions, or ledgers, of one answer.
const LIMIT: u32 = 50;

/// What a part of the check came to.
#[derive(Serialize, Default)]
pub(super) struct VerifyReply {
    /// Documents that were checked: invoices, ledgers or agents.
    checked: u64,
    findings: Vec<FindingReply>,
    /// What to pass as `after` for the next part; none behind the last.
    next: Option<String>,
}

/// Something that does not follow.
#[derive(Serialize)]
struct FindingReply {
    /// An invoice, a customer's ledger or an agent.
    subject: String,
    /// The invoice's line, from 1.
    line: Option<usize>,
    problem: String,
}

/// `GET /v1/verify?part=invoices|ledgers|agents&after`.
pub(super) async fn get(
    State(state): State<ApiState>,
    mut query: Query,
) -> Result<Json<VerifyReply>, ApiError> {
    let part = query.required("part")?;
    let after = query.text("after")?;
    query.finish()?;
    let reply = match part.as_str() {
        "invoices" => invoices(&state, after).await?,
        "ledgers" => ledgers(&state, after).await?,
        "agents" => agents(&state).await?,
        other => {
            let expected = format!("expected invoices, ledgers or agents, found `{other}`");
            return Err(ApiError::field("part", expected));
        }
    };
    Ok(Json(reply))
}

/// Derives the invoices of some subscriptions again. `after` counts the pages of them.
async fn invoices(state: &ApiState, after: Option<String>) -> Result<VerifyReply, ApiError> {
    let number: u32 = match after {
        None => 0,
        Some(text) => text
            .parse()
            .map_err(|_| ApiError::field("after", "expected what the part before answered"))?,
    };
    let page = Page::new(number, LIMIT);
    let subscriptions = state
        .storage
        .subscriptions(&SubscriptionFilter::default(), page)
        .await?;
    let mut reply = VerifyReply::default();
    for subscription in &subscriptions {
        let verified = verify::verify(&*state.storage, subscription).await?;
        reply.checked += verified.invoices;
        let findings = verified.findings.into_iter().map(|finding| FindingReply {
            subject: finding.invoice_id.to_string(),
            line: finding.line,
            problem: finding.problem,
        });
        reply.findings.extend(findings);
    }
    let is_full = subscriptions.len() == page.take();
    reply.next = is_full.then(|| number.saturating_add(1).to_string());
    Ok(reply)
}

/// Adds some customers' ledgers up again, from their first entries on.
async fn ledgers(state: &ApiState, after: Option<String>) -> Result<VerifyReply, ApiError> {
    let after = after.map(CustomerId::new).transpose()?;
    let limit = usize::try_from(LIMIT).unwrap_or(usize::MAX);
    let customers = state.storage.ledgers(after.as_ref(), limit).await?;
    let mut reply = VerifyReply::default();
    for customer in &customers {
        reply.checked += 1;
        let faults = state.storage.audit_ledger(customer).await?;
        reply
            .findings
            .extend(faults.iter().map(|fault| FindingReply {
                subject: format!("ledger of {customer}"),
                line: None,
                problem: fault.to_string(),
            }));
    }
    let last = customers.last().filter(|_| customers.len() == limit);
    reply.next = last.map(ToString::to_string);
    Ok(reply)
}

/// Adds every agent's receipts up again.
async fn agents(state: &ApiState) -> Result<VerifyReply, ApiError> {
    let mut reply = VerifyReply::default();
    for agent in state.storage.agents().await? {
        reply.checked += 1;
        let mut problems = Vec::new();
        if !agent.receipts.is_conserved() {
            problems.push("the receipts do not add up");
        }
        if agent.alarms.contains(&Alarm::Unconserved) {
            problems.push("receipts of an earlier frame did not add up, or went backwards");
        }
        reply
            .findings
            .extend(problems.into_iter().map(|problem| FindingReply {
                subject: format!("agent {}", agent.agent_id),
                line: None,
                problem: problem.to_owned(),
            }));
    }
    Ok(reply)
}
