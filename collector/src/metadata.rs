//! What applications attach to customers, products and subscriptions: a flat map that billing never reads.

use std::collections::BTreeMap;

/// A flat map from key to string, number or boolean, in key order.
pub type Metadata = BTreeMap<String, serde_json::Value>;
