//! The shard of a customer: a stable hash of its id, for ever.
//!
//! Everything of one customer lies in one shard, in every engine. The embedded engine only sorts by it;
//! it is there from the start so that stored usage never has to change its place.

use submeter_common::id::CustomerId;

/// Number of shards, for ever.
pub const SHARDS: u8 = 64;

/// Returns the shard, from 0, that a customer belongs to.
pub fn shard_of(customer: &CustomerId) -> u8 {
    hash(customer.as_str())
}

fn hash(text: &str) -> u8 {
    let digest = blake3::hash(text.as_bytes());
    // The mask is the remainder by a power of two; see the assertion.
    digest
        .as_bytes()
        .first()
        .map_or(0, |byte| byte & (SHARDS - 1))
}

const _: () = assert!(SHARDS.is_power_of_two());

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{SHARDS, hash, shard_of};
    use submeter_common::id::CustomerId;

    #[test]
    fn the_shard_of_an_id_never_changes() {
        // From the published test vectors of BLAKE3: the digest of nothing begins with af.
        assert_eq!(hash(""), 0xaf & 63);
        let golden = [("cus_1", 46), ("cus_2", 15), ("acme", 59), ("Zürich", 4)];
        let found = golden.map(|(id, _)| (id, shard_of(&CustomerId::new(id).unwrap())));
        assert_eq!(found, golden);
    }

    #[test]
    fn ids_spread_over_all_shards() {
        let mut counts = [0_u32; SHARDS as usize];
        for number in 0..64_000 {
            counts[usize::from(hash(&format!("cus_{number}")))] += 1;
        }
        assert!(
            counts.iter().all(|count| (800..1200).contains(count)),
            "{counts:?}"
        );
    }
}
