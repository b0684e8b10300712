//! Offering one SRTP profile instead of all.
//!
//! `dimpl` always offers its three profiles, and servers take the one they like best, which need not be the
//! same one everywhere. A comparison needs one and the same: so the ClientHello is changed on its way out
//! to name the wanted profile three times, and where the handshake hashes or signs what was sent, it is
//! shown what was really sent.

use dimpl::crypto::{
    Buf, CryptoProvider, HashContext, HashProvider, KeyProvider, SigningKey, aws_lc_rs,
};
use dimpl::{CryptoError, HashAlgorithm, SignatureAlgorithm};

/// An SRTP profile by its number in `use_srtp` (RFC 5764 §4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProfileNumber(pub(super) u16);

/// The extension as `dimpl` writes it: type 14, length, list length, AES-256-GCM, AES-128-GCM,
/// AES-128-CM, no MKI. Thirteen bytes that stand nowhere else.
const OFFERED: [u8; 13] = [0, 14, 0, 9, 0, 6, 0, 8, 0, 7, 0, 1, 0];

/// Where the list of profiles stands in it.
const LIST: std::ops::Range<usize> = 6..12;

/// Names `wanted` wherever `bytes` offer all profiles.
pub(super) fn narrow(bytes: &mut [u8], wanted: ProfileNumber) {
    let found = bytes.windows(OFFERED.len()).position(|window| window == OFFERED);
    let list = found.and_then(|at| bytes.get_mut(at + LIST.start..at + LIST.end));
    for profile in list.into_iter().flat_map(|list| list.chunks_exact_mut(2)) {
        profile.copy_from_slice(&wanted.0.to_be_bytes());
    }
}

/// Cryptography that sees a ClientHello as [`narrow`] changed it. Lives as long as the process: to be made
/// once.
pub(super) fn provider(wanted: ProfileNumber) -> CryptoProvider {
    let whole = aws_lc_rs::default_provider();
    CryptoProvider {
        hash_provider: Box::leak(Box::new(Hashes { whole: whole.hash_provider, wanted })),
        key_provider: Box::leak(Box::new(Keys { whole: whole.key_provider, wanted })),
        ..whole
    }
}

fn narrowed(data: &[u8], wanted: ProfileNumber) -> Vec<u8> {
    let mut data = data.to_vec();
    narrow(&mut data, wanted);
    data
}

#[derive(Debug)]
struct Hashes {
    whole: &'static dyn HashProvider,
    wanted: ProfileNumber,
}

impl HashProvider for Hashes {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(Hash { whole: self.whole.create_hash(algorithm), wanted: self.wanted })
    }
}

#[derive(Debug)]
struct Hash {
    whole: Box<dyn HashContext>,
    wanted: ProfileNumber,
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.whole.update(&narrowed(data, self.wanted));
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.whole.clone_and_finalize(out);
    }
}

#[derive(Debug)]
struct Keys {
    whole: &'static dyn KeyProvider,
    wanted: ProfileNumber,
}

impl KeyProvider for Keys {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let whole = self.whole.load_private_key(key_der)?;
        Ok(Box::new(Key { whole, wanted: self.wanted }))
    }
}

#[derive(Debug)]
struct Key {
    whole: Box<dyn SigningKey>,
    wanted: ProfileNumber,
}

impl SigningKey for Key {
    fn sign(
        &mut self,
        data: &[u8],
        hash_alg: HashAlgorithm,
        out: &mut Buf,
    ) -> Result<(), CryptoError> {
        self.whole.sign(&narrowed(data, self.wanted), hash_alg, out)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        self.whole.algorithm()
    }

    fn hash_algorithm(&self) -> HashAlgorithm {
        self.whole.hash_algorithm()
    }

    fn supported_hash_algorithms(&self) -> &[HashAlgorithm] {
        self.whole.supported_hash_algorithms()
    }
}
