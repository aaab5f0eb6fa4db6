//! Explaining an invoice: each line down to tiers, grants, usage by day and hour, and the frames that brought it.

use super::{BillingError, Invoice, InvoiceLine};
use crate::{
    credits::Grant,
    money::Decimal,
    storage::Storage,
    usage::{Granularity, Source, UsagePoint, source::Contributor as _},
};
use submeter_common::{AgentId, CustomerId, Digest, Group, MeterId, Period};

/// Hours of one line that are told at most: a year of them, for a few groups. What lies beyond is in the line's total.
const HOURS_MAX: usize = 40_000;

/// What a line comes from.
#[derive(Clone, Debug)]
pub struct LineExplanation {
    /// Its place on the invoice, from 1.
    pub number: usize,
    /// The line, with its tiers.
    pub line: InvoiceLine,
    /// The grants that paid for it, as they are now.
    pub grants: Vec<Grant>,
    /// The usage of its service period by day, as it is known now.
    pub days: Vec<UsageDay>,
    /// Events of the service period that are known now. More than the line's own: what came late is on a later invoice.
    pub events_known: u64,
    /// The frames that brought the line's events.
    pub frames: Vec<FrameRange>,
}

/// A day (UTC) of one group.
#[derive(Clone, Debug)]
pub struct UsageDay {
    /// The day, cut to the service period.
    pub period: Period,
    /// The group.
    pub group: Group,
    /// What it came to.
    pub quantity: Decimal,
    /// Events of it.
    pub events: u64,
    /// Its hours, where there was usage.
    pub hours: Vec<UsageHour>,
}

/// An hour of one group.
#[derive(Clone, Debug)]
pub struct UsageHour {
    /// The hour, cut to the service period.
    pub period: Period,
    /// What it came to.
    pub quantity: Decimal,
    /// Events of it.
    pub events: u64,
}

/// Frames of one agent, with the digests by which they are known on both sides.
#[derive(Clone, Debug)]
pub struct FrameRange {
    /// Which frames, and how many of the line's events they brought.
    pub source: Source,
    /// Digest of the first of them, while it is kept.
    pub first_digest: Option<Digest>,
    /// Digest of the last of them, while it is kept.
    pub last_digest: Option<Digest>,
}

/// Explains every line of an invoice, or the one with `number` (from 1).
///
/// # Errors
/// When the storage fails.
pub async fn explain<S: Storage + ?Sized>(
    storage: &S,
    invoice: &Invoice,
    number: Option<usize>,
) -> Result<Vec<LineExplanation>, BillingError> {
    let mut explained = Vec::new();
    for (number, line) in (1..)
        .zip(&invoice.lines)
        .filter(|(n, _)| number.is_none_or(|number| number == *n))
    {
        let (days, events_known) = match &line.meter_id {
            Some(meter) => days(storage, &invoice.customer_id, meter, line).await?,
            None => (Vec::new(), 0),
        };
        explained.push(LineExplanation {
            number,
            line: line.clone(),
            grants: grants(storage, line).await?,
            days,
            events_known,
            frames: frames(storage, line).await?,
        });
    }
    Ok(explained)
}

async fn grants<S: Storage + ?Sized>(
    storage: &S,
    line: &InvoiceLine,
) -> Result<Vec<Grant>, BillingError> {
    let mut grants = Vec::new();
    for used in line.credits.iter().flat_map(|credits| &credits.grants) {
        grants.extend(storage.grant(&used.grant_id).await?);
    }
    Ok(grants)
}

async fn days<S: Storage + ?Sized>(
    storage: &S,
    customer: &CustomerId,
    meter: &MeterId,
    line: &InvoiceLine,
) -> Result<(Vec<UsageDay>, u64), BillingError> {
    let period = line.service_period;
    let read = |granularity| storage.series(customer, meter, period, granularity, HOURS_MAX);
    let by_day = read(Granularity::Day).await?;
    let by_hour = read(Granularity::Hour).await?;
    let events = by_day.iter().fold(0_u64, |sum, day| {
        sum.saturating_add(day.cell.partial.events)
    });
    let days = by_day.into_iter().map(|day| of_day(day, &by_hour));
    Ok((days.collect(), events))
}

fn of_day(day: UsagePoint, by_hour: &[UsagePoint]) -> UsageDay {
    let within = |hour: &&UsagePoint| {
        hour.group == day.group
            && day.period.start <= hour.period.start
            && hour.period.end <= day.period.end
    };
    let hours = by_hour.iter().filter(within).map(|hour| UsageHour {
        period: hour.period,
        quantity: Decimal::from(&hour.cell.partial.value()),
        events: hour.cell.partial.events,
    });
    UsageDay {
        hours: hours.collect(),
        quantity: Decimal::from(&day.cell.partial.value()),
        events: day.cell.partial.events,
        period: day.period,
        group: day.group,
    }
}

async fn frames<S: Storage + ?Sized>(
    storage: &S,
    line: &InvoiceLine,
) -> Result<Vec<FrameRange>, BillingError> {
    let mut frames = Vec::new();
    for source in &line.sources {
        let (first_digest, last_digest) = if source.agent_id == AgentId::OTHERS {
            (None, None)
        } else {
            let digest = |seq| storage.frame_digest(source.agent_id, seq);
            (
                digest(source.first_seq).await?,
                digest(source.last_seq).await?,
            )
        };
        frames.push(FrameRange {
            source: source.clone(),
            first_digest,
            last_digest,
        });
    }
    Ok(frames)
}
