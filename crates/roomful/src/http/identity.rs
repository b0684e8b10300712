//! The identities that this server gives to visitors of its page.

use aws_lc_rs::hmac;
use roomful_sfu::ids::{Identity, RoomName};

/// Bytes of an identity: with 16, neither can a seed's identity be met by chance (2^-128) nor do
/// two random ones of a server's life meet (birthday bound: 2^64 of them). More only lengthens rosters.
const IDENTITY_BYTES: usize = 16;

/// Bytes of the key: the output length of the hash, below which HMAC gets weaker (RFC 2104 §3).
const KEY_BYTES: usize = 32;

/// Turns what a page keeps secret into the identity that everybody sees.
///
/// Who joins under an identity takes its holder's place, and every roster shows the identities.
/// So a page never chooses one: it sends a seed that it shows to nobody, and gets
/// HMAC-SHA256(key, room and seed). The same seed takes the same place again (a reload), and
/// nothing that is seen leads back to it.
pub(crate) struct IdentityMaker {
    key: hmac::Key,
}

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system gave no randomness")]
pub(crate) struct NoRandomness;

impl IdentityMaker {
    /// With a key of this run.
    pub(crate) fn new() -> Result<Self, NoRandomness> {
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, &random::<KEY_BYTES>()?) })
    }

    /// The identity of whoever holds `seed`, in `room`; of an empty seed, one nobody else has.
    pub(crate) fn identity(&self, room: &RoomName, seed: &str) -> Result<Identity, NoRandomness> {
        if seed.is_empty() {
            return Ok(written(&random::<IDENTITY_BYTES>()?));
        }
        let room = room.as_str().as_bytes();
        let mut context = hmac::Context::with_key(&self.key);
        // The length keeps the two apart: room "ab", seed "c" is not room "a", seed "bc".
        context.update(&(room.len() as u64).to_be_bytes());
        context.update(room);
        context.update(seed.as_bytes());
        let tag = context.sign();
        Ok(written(tag.as_ref().get(..IDENTITY_BYTES).unwrap_or(tag.as_ref())))
    }
}

fn random<const N: usize>() -> Result<[u8; N], NoRandomness> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}

fn written(bytes: &[u8]) -> Identity {
    Identity::new(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_leads_to_one_identity_in_one_room_of_one_run() {
        let (maker, other) = (IdentityMaker::new().unwrap(), IdentityMaker::new().unwrap());
        let of = |maker: &IdentityMaker, room: &str, seed: &str| {
            maker.identity(&RoomName::new(room), seed).unwrap()
        };
        let ann = of(&maker, "garden", "web-1");
        assert_eq!(of(&maker, "garden", "web-1"), ann, "a reload takes its own place");
        assert_ne!(of(&maker, "garden", ann.as_str()), ann, "what a roster shows is no seed");
        assert_ne!(of(&maker, "cellar", "web-1"), ann);
        assert_ne!(of(&maker, "gardenw", "eb-1"), ann);
        assert_ne!(of(&other, "garden", "web-1"), ann);
        assert_ne!(of(&maker, "garden", ""), of(&maker, "garden", ""));
        assert_eq!(ann.as_str().len(), 2 * IDENTITY_BYTES);
    }
}
