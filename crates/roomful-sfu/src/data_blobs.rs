//! `DataBlobs`: what a participant leaves with the room for others to fetch by key.

use std::collections::BTreeMap;

use livekit_protocol as proto;
use prost::Message as _;
use proto::data_blob_key::Key;
use proto::request_response::Reason;

use crate::signalling::Refusal;

/// See the module text. It ends with its participant.
#[derive(Debug, Default)]
pub(crate) struct DataBlobs {
    by_key: BTreeMap<Vec<u8>, proto::DataBlob>,
}

/// Longest key, in bytes: LiveKit's default.
const KEY_BYTES: usize = 256;

/// Keys and contents of one participant together, in bytes: LiveKit's default. Larger lets a room of hundreds hold
/// more than its calls need, smaller refuses schemas that work elsewhere.
const ALL_BYTES: usize = 64_000;

impl DataBlobs {
    /// Keeps `blob`, in the place of one with the same key.
    pub(crate) fn store(&mut self, blob: proto::DataBlob) -> Result<(), Refusal> {
        let named = blob.key.as_ref().filter(|key| names_something(key));
        let key = named.map(proto::DataBlobKey::encode_to_vec).unwrap_or_default();
        if key.is_empty() || key.len() > KEY_BYTES {
            return Err(Refusal::new(Reason::InvalidRequest, "data blob is invalid"));
        }
        if blob.contents.is_empty() {
            return Err(Refusal::new(Reason::InvalidRequest, "data blob is empty"));
        }
        let others = self.by_key.iter().filter(|(known, _)| **known != key);
        let held: usize = others.map(|(key, blob)| key.len() + blob.contents.len()).sum();
        if held + key.len() + blob.contents.len() > ALL_BYTES {
            let text = format!("data blobs exceed the limit of {ALL_BYTES} bytes together");
            return Err(Refusal::new(Reason::LimitExceeded, text));
        }
        self.by_key.insert(key, blob);
        Ok(())
    }

    /// The blob of that key.
    pub(crate) fn get(&self, key: &proto::DataBlobKey) -> Option<&proto::DataBlob> {
        self.by_key.get(&key.encode_to_vec())
    }
}

fn names_something(key: &proto::DataBlobKey) -> bool {
    match &key.key {
        Some(Key::Generic(name)) => !name.is_empty(),
        Some(Key::SchemaId(schema)) => !schema.name.is_empty(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> proto::DataBlobKey {
        proto::DataBlobKey { key: Some(Key::Generic(name.into())) }
    }

    fn blob(name: &str, size: usize) -> proto::DataBlob {
        proto::DataBlob { key: Some(key(name)), contents: vec![7; size] }
    }

    #[test]
    fn what_is_stored_is_found_until_it_is_replaced() {
        let mut blobs = DataBlobs::default();
        blobs.store(blob("a", 10)).unwrap();
        assert_eq!(blobs.get(&key("a")).unwrap().contents.len(), 10);
        blobs.store(blob("a", 20)).unwrap();
        assert_eq!(blobs.get(&key("a")).unwrap().contents.len(), 20);
        assert_eq!(blobs.get(&key("b")), None);
    }

    #[test]
    fn limits_hold_for_all_together_and_a_replacement_counts_once() {
        let mut blobs = DataBlobs::default();
        blobs.store(blob("a", 40_000)).unwrap();
        assert_eq!(blobs.store(blob("b", 30_000)).unwrap_err().reason, Reason::LimitExceeded);
        blobs.store(blob("a", 60_000)).unwrap();
        assert_eq!(blobs.store(blob("a", 64_000)).unwrap_err().reason, Reason::LimitExceeded);
    }

    #[test]
    fn blobs_without_a_key_or_contents_are_refused() {
        let mut blobs = DataBlobs::default();
        let keyless = proto::DataBlob { contents: vec![7], ..Default::default() };
        for bad in [keyless, blob("", 1), blob("a", 0), blob(&"k".repeat(300), 1)] {
            assert_eq!(blobs.store(bad).unwrap_err().reason, Reason::InvalidRequest);
        }
    }
}
