//! What an event costs as meters on other event names and customers grow: it should stay flat.
//!
//! The cost is the agent's processor time, which other processes on the machine hardly change. (The curve over ids is
//! drawn by `agent/benches/dedup.rs`.)

use anyhow::Result;

use super::agent::{self, Load};
use super::drive::Time;
use super::table::{Sheet, mebibytes, ratio};
use super::{CUSTOMERS, SHAPES};

const OTHER_METERS: [usize; 4] = [1, 10, 100, 1_000];
const CUSTOMERS_GROWING: [u64; 3] = [1_000, CUSTOMERS, 100_000];

/// Draws both curves, each point in a third of the time a shape gets.
pub(super) async fn run(time: Time) -> Result<()> {
    let time = time.divided(3);
    let usual = Load::of(SHAPES[0]);
    let meters = OTHER_METERS.map(|other_meters| {
        let load = Load {
            other_meters,
            ..usual
        };
        (other_meters.to_string(), load)
    });
    draw("other meters", &meters, time).await?;
    let customers = CUSTOMERS_GROWING.map(|customers| {
        let load = Load { customers, ..usual };
        (customers.to_string(), load)
    });
    draw("customers", &customers, time).await
}

async fn draw(what: &str, points: &[(String, Load)], time: Time) -> Result<()> {
    let mut sheet = Sheet::new(&[what, "events/s", "cpu/event", "cpu ratio", "agent"]);
    let mut base = None;
    for (value, load) in points {
        println!("» curve: {value} {what}");
        let measured = agent::measure(*load, time).await?;
        let base = *base.get_or_insert(measured.cpu_nanos);
        sheet.row(vec![
            value.clone(),
            measured.driven.per_second.to_string(),
            format!("{} ns", measured.cpu_nanos),
            ratio(measured.cpu_nanos, base),
            mebibytes(measured.agent_bytes),
        ]);
    }
    println!("{sheet}");
    Ok(())
}
