//! What every storage engine has to do, run on each one.
//!
//! A test is a function over [`Engine`]; the list at the end names them once per engine.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "conformance/alerts.rs"]
mod alerts;
#[path = "conformance/builders.rs"]
mod builders;
#[path = "conformance/catalog.rs"]
mod catalog;
#[path = "conformance/frames.rs"]
mod frames;
#[path = "conformance/grants.rs"]
mod grants;
#[path = "conformance/payments.rs"]
mod payments;
#[path = "conformance/records.rs"]
mod records;
#[path = "conformance/settlements.rs"]
mod settlements;
#[path = "conformance/usage.rs"]
mod usage;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use submeter_collector::storage::Storage;
use submeter_collector::storage::rocksdb::{OpenError, RocksStore};
use tempfile::TempDir;

/// A place where an engine keeps its data, and ways to come back to it.
trait Engine {
    type Store: Storage;

    fn new() -> Self;

    /// Opens the store; the one opened before was dropped.
    fn open(&self) -> Arc<Self::Store>;

    /// Returns the place as it would be found had the process been killed now, while the store is open.
    fn killed(&self) -> Self;
}

struct Rocks(TempDir);

impl Engine for Rocks {
    type Store = RocksStore;

    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn open(&self) -> Arc<RocksStore> {
        // A task of the store that was dropped may still be letting go of it.
        for _ in 0..100 {
            match RocksStore::open(self.0.path()) {
                Err(OpenError::Locked(_)) => {
                    std::thread::sleep(std::time::Duration::from_millis(20))
                }
                opened => return Arc::new(opened.unwrap()),
            }
        }
        panic!("the store is still open")
    }

    fn killed(&self) -> Self {
        let copy = Self::new();
        copy_directory(self.0.path(), copy.0.path());
        copy
    }
}

/// Copies files as they are. Every write that returned is in them, whatever is still in memory.
fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

macro_rules! conformance {
    ($engine:ty: $($room:ident::{$($test:ident),+ $(,)?}),+ $(,)?) => {
        $(mod $room {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $test() {
                crate::$room::$test::<$engine>().await;
            })+
        })+
    };
}

mod rocksdb {
    conformance! { crate::Rocks:
        frames::{
            a_frame_counts_once_however_often_it_comes,
            copies_sent_at_once_count_once,
            every_agent_is_applied_in_its_own_order,
            gaps_forks_and_old_sessions_are_told_apart,
            a_repeated_frame_of_long_ago_is_recognised,
            what_was_answered_survives_a_restart_and_a_kill,
            rows_that_do_not_fit_are_set_aside_and_the_position_advances,
            a_row_of_another_aggregation_than_its_meters_poisons_no_total,
            receipts_that_do_not_add_up_are_recorded_and_the_usage_counts,
            registers_are_judged_and_recorded,
            a_retired_agent_is_fenced_until_it_registers_and_never_waited_for,
            an_agent_that_is_silent_is_told_of_once_until_it_is_heard_of,
        },
        usage::{
            any_range_of_minutes_is_the_sum_of_its_minutes,
            a_series_is_cut_to_its_range_and_bounded,
            a_series_costs_what_it_holds_and_not_what_it_spans,
            sources_name_every_event,
            a_frame_is_in_a_total_whole_or_not_at_all,
            usage_of_the_unknown_is_kept,
        },
        settlements::{
            a_period_is_settled_once,
            settlements_from_many_places_settle_once,
            a_grant_that_changed_meanwhile_makes_it_stale,
            invoice_numbers_have_no_gaps_and_begin_anew_each_year,
            books_that_do_not_balance_are_refused,
            a_meter_is_billed_by_one_subscription_only,
            what_is_due_comes_in_order_and_in_slices,
            what_is_due_under_a_test_clock_is_due_under_no_other,
            settlements_survive_a_restart_and_a_kill,
        },
        payments::{
            what_is_to_be_collected_comes_in_order_by_its_own_clock,
            messages_are_kept_for_their_retention_whatever_their_own_time_is,
        },
        catalog::{
            the_catalog_is_versioned_and_survives,
            a_change_over_something_else_is_a_conflict,
        },
        alerts::{
            thresholds_are_kept_over_what_was_read_and_survive,
            who_is_watched_is_touched_in_the_write_that_changes_something,
            a_product_is_watched_in_every_meter_it_ever_priced,
            what_is_told_is_told_once_over_what_was_read,
        },
        grants::{
            what_expires_by_itself_is_listed_by_its_time_until_it_is_booked,
            every_entry_of_credits_is_told_with_it,
        },
        records::{
            customers_are_found_by_id_age_and_address,
            keys_are_found_by_hash_and_stay_revoked,
            the_audit_log_has_no_gaps,
        },
    }
}

#[test]
fn a_second_process_is_told_that_the_store_is_in_use() {
    let place = Rocks::new();
    let _first = place.open();
    assert!(matches!(
        RocksStore::open(place.0.path()),
        Err(OpenError::Locked(_))
    ));
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_not_touched() {
    let place = Rocks::new();
    drop(place.open());
    let path = place.0.path().join("store");
    let options = ::rocksdb::Options::default();
    let mut families = ::rocksdb::DB::list_cf(&options, &path).unwrap();
    let mut db = ::rocksdb::DB::open_cf(&options, &path, &families).unwrap();
    db.create_cf("of_the_future", &options).unwrap();
    families.push("of_the_future".to_owned());
    db.put_cf(db.cf_handle("meta").unwrap(), b"format", b"\x012")
        .unwrap();
    drop(db);

    let refused = RocksStore::open(place.0.path());
    assert!(
        matches!(
            refused,
            Err(OpenError::NewerFormat {
                found: 2,
                supported: 1,
                ..
            })
        ),
        "{refused:?}"
    );
    let mut after = ::rocksdb::DB::list_cf(&options, &path).unwrap();
    after.sort();
    families.sort();
    assert_eq!(after, families);
}
