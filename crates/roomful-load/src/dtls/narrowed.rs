//! Agreeing on one SRTP profile whatever the server prefers.
//!
//! `dimpl` offers its three profiles as a client, and as a server takes the one it likes best, which need not
//! be the same with every server under test. A comparison needs one and the same. So the ClientHello is
//! changed between `dimpl` and the wire: on this side or the other it names no profile but the wanted one.
//! Where the handshake hashes, signs or verifies what went over the wire, it is shown what really did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dimpl::crypto::{
    Buf, CryptoProvider, HashContext, HashProvider, KeyProvider, SignatureVerifier, SigningKey,
    aws_lc_rs,
};
use dimpl::{CryptoError, HashAlgorithm, SignatureAlgorithm};

use super::Role;

/// An SRTP profile by its number in `use_srtp` (RFC 5764 §4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProfileNumber(pub(super) u16);

/// The list of profiles as `dimpl` writes it: AES-256-GCM, AES-128-GCM, AES-128-CM.
const ALL: [u8; 6] = [0, 8, 0, 7, 0, 1];

/// AES-128-CM with the short tag (RFC 5764 §4.1.2), which `dimpl` does not speak.
const UNKNOWN: [u8; 2] = [0, 2];

/// The longest list that is looked for, in bytes: all profiles there are.
const LONGEST_LIST: usize = 16;

/// Every profile's number is below this (the registry of DTLS-SRTP protection profiles).
const ABOVE_ALL: u8 = 16;

/// How a ClientHello differs between `dimpl` and the wire. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Change {
    wanted: ProfileNumber,
    role: Role,
    /// What stood on the wire where `dimpl` was shown `wanted` alone. All clients of a run are one program, and
    /// offer the same.
    offered: Arc<Mutex<Vec<u8>>>,
}

impl Change {
    /// A client offers only `wanted`; a server is offered some and sees only `wanted`, if it is among them.
    pub(super) fn new(wanted: ProfileNumber, role: Role) -> Self {
        let offered = match role {
            Role::Client => ALL.to_vec(),
            Role::Server => Vec::new(),
        };
        Self { wanted, role, offered: Arc::new(Mutex::new(offered)) }
    }

    /// Changes what `dimpl` sends.
    pub(super) fn outgoing(&self, bytes: &mut [u8]) {
        if self.role == Role::Client
            && let Some(list) = find(bytes).filter(|list| **list == ALL)
        {
            list.chunks_exact_mut(2).for_each(|profile| profile.copy_from_slice(&self.wanted()));
        }
    }

    /// Changes what came, before `dimpl` sees it.
    pub(super) fn incoming(&self, bytes: &mut [u8]) {
        if self.role == Role::Server
            && let Some(list) = find(bytes)
            && list.chunks_exact(2).any(|profile| profile == self.wanted())
        {
            *self.offered() = list.to_vec();
            list.copy_from_slice(&self.shown(list.len()));
        }
    }

    /// What `dimpl` has sent or seen, as it was on the wire.
    fn as_on_the_wire(&self, data: &[u8]) -> Vec<u8> {
        let mut data = data.to_vec();
        match self.role {
            Role::Client => self.outgoing(&mut data),
            Role::Server => self.restore(&mut data),
        }
        data
    }

    fn restore(&self, data: &mut [u8]) {
        let offered = self.offered();
        let shown = self.shown(offered.len());
        if let Some(list) = find(data).filter(|list| **list == shown) {
            list.copy_from_slice(&offered);
        }
    }

    /// The list of so many bytes that `dimpl` is shown as a server: it passes over profiles it does not know, and
    /// refuses to see one of its own more than three times.
    fn shown(&self, length: usize) -> Vec<u8> {
        let profiles = std::iter::once(self.wanted()).chain(std::iter::repeat(UNKNOWN));
        profiles.flatten().take(length).collect()
    }

    fn wanted(&self) -> [u8; 2] {
        self.wanted.0.to_be_bytes()
    }

    /// Nothing that holds the lock can panic halfway through a change.
    fn offered(&self) -> MutexGuard<'_, Vec<u8>> {
        self.offered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The list of profiles of a `use_srtp` extension: type 14, length, list length, profiles, no MKI (RFC 5764
/// §4.1.1). Bytes that look like it stand nowhere else in a handshake, but by an improbable chance.
fn find(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let list_at = |at: usize| {
        let &[0, 14, 0, length, 0, list] = bytes.get(at..at + 6)? else { return None };
        let (length, list) = (usize::from(length), usize::from(list));
        let range = at + 6..at + 6 + list;
        let profiles = bytes.get(range.clone())?;
        let fits = length == list + 3 && list % 2 == 0 && (2..=LONGEST_LIST).contains(&list);
        let known =
            profiles.chunks_exact(2).all(|profile| profile[0] == 0 && profile[1] < ABOVE_ALL);
        (fits && known && bytes.get(range.end) == Some(&0)).then_some(range)
    };
    let range = (0..bytes.len()).find_map(list_at)?;
    bytes.get_mut(range)
}

/// Cryptography that sees a ClientHello as it went over the wire. Lives as long as the process: to be made
/// once.
pub(super) fn provider(change: &Change) -> CryptoProvider {
    let change = || change.clone();
    let whole = aws_lc_rs::default_provider();
    CryptoProvider {
        hash_provider: Box::leak(Box::new(Hashes { whole: whole.hash_provider, change: change() })),
        key_provider: Box::leak(Box::new(Keys { whole: whole.key_provider, change: change() })),
        signature_verification: Box::leak(Box::new(Verifier {
            whole: whole.signature_verification,
            change: change(),
        })),
        ..whole
    }
}

#[derive(Debug)]
struct Hashes {
    whole: &'static dyn HashProvider,
    change: Change,
}

impl HashProvider for Hashes {
    fn create_hash(&self, algorithm: HashAlgorithm) -> Box<dyn HashContext> {
        Box::new(Hash { whole: self.whole.create_hash(algorithm), change: self.change.clone() })
    }
}

#[derive(Debug)]
struct Hash {
    whole: Box<dyn HashContext>,
    change: Change,
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.whole.update(&self.change.as_on_the_wire(data));
    }

    fn clone_and_finalize(&self, out: &mut Buf) {
        self.whole.clone_and_finalize(out);
    }
}

#[derive(Debug)]
struct Keys {
    whole: &'static dyn KeyProvider,
    change: Change,
}

impl KeyProvider for Keys {
    fn load_private_key(&self, key_der: &[u8]) -> Result<Box<dyn SigningKey>, CryptoError> {
        let whole = self.whole.load_private_key(key_der)?;
        Ok(Box::new(Key { whole, change: self.change.clone() }))
    }
}

#[derive(Debug)]
struct Key {
    whole: Box<dyn SigningKey>,
    change: Change,
}

impl SigningKey for Key {
    fn sign(
        &mut self,
        data: &[u8],
        hash_alg: HashAlgorithm,
        out: &mut Buf,
    ) -> Result<(), CryptoError> {
        self.whole.sign(&self.change.as_on_the_wire(data), hash_alg, out)
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

#[derive(Debug)]
struct Verifier {
    whole: &'static dyn SignatureVerifier,
    change: Change,
}

impl SignatureVerifier for Verifier {
    fn verify_signature(
        &self,
        cert_der: &[u8],
        data: &[u8],
        signature: &[u8],
        hash_alg: HashAlgorithm,
        sig_alg: SignatureAlgorithm,
    ) -> Result<(), CryptoError> {
        let data = self.change.as_on_the_wire(data);
        self.whole.verify_signature(cert_der, &data, signature, hash_alg, sig_alg)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GCM: ProfileNumber = ProfileNumber(7);

    #[test]
    fn a_server_sees_one_profile_of_a_longer_list_and_hashes_the_list() {
        let change = Change::new(GCM, Role::Server);
        let real = [9, 0, 14, 0, 11, 0, 8, 0, 8, 0, 7, 0, 1, 0, 2, 0, 9];
        let mut seen = real;
        change.incoming(&mut seen);
        assert_eq!(seen, [9, 0, 14, 0, 11, 0, 8, 0, 7, 0, 2, 0, 2, 0, 2, 0, 9]);
        assert_eq!(change.as_on_the_wire(&seen), real);
    }

    #[test]
    fn a_list_without_the_wanted_profile_stays() {
        let change = Change::new(GCM, Role::Server);
        let real = [0, 14, 0, 5, 0, 2, 0, 1, 0];
        let mut seen = real;
        change.incoming(&mut seen);
        assert_eq!((seen, change.as_on_the_wire(&seen)), (real, real.to_vec()));
    }

    #[test]
    fn what_only_begins_like_the_extension_stays() {
        for bytes in [&[0, 14, 0, 9, 0, 6, 0, 8][..], &[0, 14, 0, 5, 0, 2, 77, 7, 0], &[0, 14]] {
            let mut seen = bytes.to_vec();
            Change::new(GCM, Role::Server).incoming(&mut seen);
            assert_eq!(seen, bytes);
        }
    }
}
