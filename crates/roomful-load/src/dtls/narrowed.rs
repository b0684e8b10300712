//! Agreeing on one SRTP profile whatever the server prefers.
//!
//! `dimpl` offers its three profiles as a client, and as a server takes the one it likes best, which need not
//! be the same with every server under test. A comparison needs one and the same. So the ClientHello is
//! changed between `dimpl` and the wire: on this side or the other it names the wanted profile three times.
//! Where the handshake hashes, signs or verifies what went over the wire, it is shown what really did.

use dimpl::crypto::{
    Buf, CryptoProvider, HashContext, HashProvider, KeyProvider, SignatureVerifier, SigningKey,
    aws_lc_rs,
};
use dimpl::{CryptoError, HashAlgorithm, SignatureAlgorithm};

use super::Role;

/// An SRTP profile by its number in `use_srtp` (RFC 5764 §4.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProfileNumber(pub(super) u16);

/// The extension as `dimpl` writes it, and Pion too: type 14, length, list length, AES-256-GCM, AES-128-GCM,
/// AES-128-CM, no MKI. Thirteen bytes that stand nowhere else.
const ALL: Extension = [0, 14, 0, 9, 0, 6, 0, 8, 0, 7, 0, 1, 0];

type Extension = [u8; 13];

/// What a ClientHello says on either side of the change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Change {
    /// To `dimpl`.
    inside: Extension,
    /// On the wire.
    outside: Extension,
}

impl Change {
    /// A client offers only `wanted`; a server is offered all and sees only `wanted`.
    pub(super) fn new(wanted: ProfileNumber, role: Role) -> Self {
        let [high, low] = wanted.0.to_be_bytes();
        let one = [0, 14, 0, 9, 0, 6, high, low, high, low, high, low, 0];
        match role {
            Role::Client => Self { inside: ALL, outside: one },
            Role::Server => Self { inside: one, outside: ALL },
        }
    }

    /// Makes of what `dimpl` has what the wire has.
    pub(super) fn outwards(&self, bytes: &mut [u8]) {
        replace(bytes, &self.inside, &self.outside);
    }

    /// Makes of what the wire has what `dimpl` is to see.
    pub(super) fn inwards(&self, bytes: &mut [u8]) {
        replace(bytes, &self.outside, &self.inside);
    }

    fn as_sent(&self, data: &[u8]) -> Vec<u8> {
        let mut data = data.to_vec();
        self.outwards(&mut data);
        data
    }
}

fn replace(bytes: &mut [u8], this: &Extension, that: &Extension) {
    let found = bytes.windows(this.len()).position(|window| window == this);
    if let Some(place) = found.and_then(|at| bytes.get_mut(at..at + this.len())) {
        place.copy_from_slice(that);
    }
}

/// Cryptography that sees a ClientHello as it went over the wire. Lives as long as the process: to be made
/// once.
pub(super) fn provider(change: Change) -> CryptoProvider {
    let whole = aws_lc_rs::default_provider();
    CryptoProvider {
        hash_provider: Box::leak(Box::new(Hashes { whole: whole.hash_provider, change })),
        key_provider: Box::leak(Box::new(Keys { whole: whole.key_provider, change })),
        signature_verification: Box::leak(Box::new(Verifier {
            whole: whole.signature_verification,
            change,
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
        Box::new(Hash { whole: self.whole.create_hash(algorithm), change: self.change })
    }
}

#[derive(Debug)]
struct Hash {
    whole: Box<dyn HashContext>,
    change: Change,
}

impl HashContext for Hash {
    fn update(&mut self, data: &[u8]) {
        self.whole.update(&self.change.as_sent(data));
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
        Ok(Box::new(Key { whole, change: self.change }))
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
        self.whole.sign(&self.change.as_sent(data), hash_alg, out)
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
        let data = self.change.as_sent(data);
        self.whole.verify_signature(cert_der, &data, signature, hash_alg, sig_alg)
    }
}
