//! Memory that requests may take together: for their bodies, and for the rows of frames once they are unpacked.
//!
//! A body that finds no room is refused with 503, because two half-read bodies that waited for each other would wait for
//! ever. A frame that was read and unpacked waits for room, because those before it need nothing more to be applied.

use std::sync::Arc;

use metrics::{counter, gauge};
use submeter_common::protocol::Row;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::config::ApiConfig;
use crate::telemetry::metric;

/// A semaphore counts 32 bits at a time: rooms are counted in units of this many bytes.
const UNIT_BYTES: usize = 1024;

/// Frames that are unpacked at one time, before anybody knows how large they are: a few per processor.
const UNPACKING_MAX: usize = 4;

/// What a row takes beside its ids and what it points to.
const ROW_BYTES: usize = size_of::<Row>();

/// The memory of all requests.
#[derive(Clone, Debug)]
pub struct Rooms {
    bodies: Room,
    frames: Room,
    unpacking: Arc<Semaphore>,
}

/// One kind of memory.
#[derive(Clone, Debug)]
struct Room {
    units: Arc<Semaphore>,
    units_max: usize,
    budget: &'static str,
}

/// A part of a room, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Share {
    units: Option<OwnedSemaphorePermit>,
    room: Room,
}

impl Rooms {
    /// The rooms that the settings allow.
    pub fn new(config: &ApiConfig) -> Self {
        Self {
            bodies: Room::new("requests_bytes_max", config.requests_bytes_max),
            frames: Room::new("frames_bytes_max", config.frames_bytes_max),
            unpacking: Arc::new(Semaphore::new(UNPACKING_MAX)),
        }
    }

    /// An empty share for a body.
    pub(super) fn body(&self) -> Share {
        Share {
            units: None,
            room: self.bodies.clone(),
        }
    }

    /// Waits for a turn to unpack a frame.
    pub(super) async fn unpack(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let turn = Arc::clone(&self.unpacking).acquire_owned().await;
        turn.map_err(ApiError::internal)
    }

    /// Waits for room for the rows of a frame. A frame larger than all room takes all of it, alone.
    pub(super) async fn rows(&self, rows: &[Row]) -> Result<Share, ApiError> {
        let room = &self.frames;
        let units = units(bytes_of(rows)).min(room.units_max);
        if room.units.available_permits() < units {
            counter!(metric::BUDGET_HITS, "budget" => room.budget).increment(1);
        }
        let units = u32::try_from(units).map_err(ApiError::internal)?;
        let taken = Arc::clone(&room.units).acquire_many_owned(units).await;
        Ok(Share {
            units: Some(taken.map_err(ApiError::internal)?),
            room: room.clone(),
        })
    }

    /// Publishes the limits and what is used of them.
    pub(super) fn observe(&self) {
        for room in [&self.bodies, &self.frames] {
            let bytes = |units: usize| (units * UNIT_BYTES) as f64;
            let used = room.units_max - room.units.available_permits();
            gauge!(metric::BUDGET_LIMIT, "budget" => room.budget).set(bytes(room.units_max));
            gauge!(metric::BUDGET_USED, "budget" => room.budget).set(bytes(used));
            counter!(metric::BUDGET_HITS, "budget" => room.budget).increment(0);
        }
    }
}

impl Room {
    fn new(budget: &'static str, bytes_max: usize) -> Self {
        let most = Semaphore::MAX_PERMITS.min(u32::MAX as usize);
        let units_max = (bytes_max / UNIT_BYTES).clamp(1, most);
        Self {
            units: Arc::new(Semaphore::new(units_max)),
            units_max,
            budget,
        }
    }
}

impl Share {
    /// Grows to cover `bytes` in all.
    ///
    /// # Errors
    /// 503 when there is no room for them.
    pub(super) fn cover(&mut self, bytes: usize) -> Result<(), ApiError> {
        let held = self
            .units
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = units(bytes).saturating_sub(held);
        if missing == 0 {
            return Ok(());
        }
        let overloaded = || {
            counter!(metric::BUDGET_HITS, "budget" => self.room.budget).increment(1);
            ApiError::unavailable("too many requests are being read; send this one again later")
        };
        let missing = u32::try_from(missing).map_err(|_| overloaded())?;
        let more = Arc::clone(&self.room.units)
            .try_acquire_many_owned(missing)
            .map_err(|_| overloaded())?;
        match &mut self.units {
            Some(units) => units.merge(more),
            None => self.units = Some(more),
        }
        Ok(())
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT_BYTES)
}

fn bytes_of(rows: &[Row]) -> usize {
    let bytes = rows.iter().map(|row| {
        ROW_BYTES
            + row.customer_id.as_str().len()
            + row.meter_id.as_str().len()
            + row.group.heap_bytes()
            + row.partial.heap_bytes()
    });
    bytes.fold(0, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use submeter_common::limits::BUNDLE_BYTES_MAX;

    use super::*;

    fn rooms(bytes: usize) -> Rooms {
        Rooms::new(&ApiConfig {
            requests_bytes_max: bytes,
            frames_bytes_max: bytes,
            ..ApiConfig::default()
        })
    }

    #[test]
    fn bodies_beyond_the_room_are_refused_until_there_is_room_again() {
        let rooms = rooms(10 * UNIT_BYTES);
        let (mut first, mut second) = (rooms.body(), rooms.body());
        first.cover(6 * UNIT_BYTES).unwrap();
        second.cover(4 * UNIT_BYTES).unwrap();
        let refused = second.cover(4 * UNIT_BYTES + 1).unwrap_err();
        assert_eq!(refused.status().as_u16(), 503);
        drop(first);
        second.cover(10 * UNIT_BYTES).unwrap();
    }

    #[test]
    fn the_least_room_that_can_be_set_takes_the_largest_body_there_is() {
        let rooms = rooms(BUNDLE_BYTES_MAX);
        rooms.body().cover(BUNDLE_BYTES_MAX).unwrap();
    }

    #[tokio::test]
    async fn frames_wait_for_room_and_the_largest_comes_alone() {
        use submeter_common::aggregate::{Group, Partial};
        use submeter_common::id::{CustomerId, MeterId};
        use submeter_common::meter::AggregationKind;
        use submeter_common::time::Window;

        let row = Row {
            customer_id: CustomerId::new("c").unwrap(),
            meter_id: MeterId::new("m").unwrap(),
            group: Group::none(),
            window: Window::from_minute(0),
            partial: Partial::identity(AggregationKind::Count),
        };
        let rooms = rooms(UNIT_BYTES);
        let huge = vec![row.clone(); 1000];
        let held = rooms.rows(&huge).await.unwrap();
        let mut waiting = asked_once(rooms.rows(&huge[..1]));
        assert!(waiting.is_none(), "a frame did not wait");
        drop(held);
        waiting = asked_once(rooms.rows(&huge[..1]));
        assert!(waiting.is_some());
    }

    /// What a future answers when it is asked once.
    fn asked_once<T>(future: impl Future<Output = T>) -> Option<T> {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            std::task::Poll::Ready(answer) => Some(answer),
            std::task::Poll::Pending => None,
        }
    }
}
