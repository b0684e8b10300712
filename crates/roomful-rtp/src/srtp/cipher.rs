//! Encrypting and authenticating one packet: the two families of algorithms, with the same face.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::cipher::{EncryptingKey, EncryptionContext};
use aws_lc_rs::error::Unspecified;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use super::kdf::{Purpose, SessionKeys, counter_mode};
use super::{KeyError, MasterKey, Position, SrtpProfile};

/// RFC 7714 §13.2 allows shorter tags, and no DTLS profile has one.
pub(super) const GCM_TAG_LEN: usize = 16;

/// 80 bits (RFC 3711 §5.2).
pub(super) const HMAC_TAG_LEN: usize = 10;

/// The library did not do it. When opening: the packet is not from whoever has the key.
#[derive(Debug)]
pub(super) struct CipherError;

impl From<Unspecified> for CipherError {
    fn from(_: Unspecified) -> Self {
        Self
    }
}

/// What is authenticated without being encrypted.
#[derive(Clone, Copy)]
pub(super) struct InTheClear<'a> {
    /// The header.
    pub(super) head: &'a [u8],
    /// RTP: the rollover counter, which is not in the packet. RTCP: the index behind the packet.
    pub(super) trailer: [u8; 4],
}

/// The session keys of one direction and purpose, expanded.
pub(super) enum Cipher {
    Gcm(Gcm),
    /// Boxed: the 650 bytes in place would be paid for by everyone who agreed upon the other.
    CounterMode(Box<CounterMode>),
}

impl Cipher {
    pub(super) fn new(master: &MasterKey, purpose: Purpose) -> Result<Self, KeyError> {
        Self::expand(&SessionKeys::derive(master, purpose)?, master.profile, purpose)
    }

    fn expand(
        keys: &SessionKeys,
        profile: SrtpProfile,
        purpose: Purpose,
    ) -> Result<Self, KeyError> {
        Ok(match profile {
            SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => {
                Self::Gcm(Gcm::new(keys, profile, purpose)?)
            }
            SrtpProfile::Aes128CmHmacSha1_80 => {
                Self::CounterMode(Box::new(CounterMode::new(keys)?))
            }
        })
    }

    /// Encrypts `body` in place and writes into `tag`, which has the length of the profile's tags.
    pub(super) fn seal(
        &self,
        at: Position,
        clear: InTheClear<'_>,
        body: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), CipherError> {
        match self {
            Self::Gcm(gcm) => gcm.seal(at, clear, body, tag),
            Self::CounterMode(counter_mode) => counter_mode.seal(at, clear, body, tag),
        }
    }

    /// Decrypts `body` in place if `tag` vouches for all of it. If not, `body` holds nothing of use afterwards.
    pub(super) fn open(
        &self,
        at: Position,
        clear: InTheClear<'_>,
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), CipherError> {
        match self {
            Self::Gcm(gcm) => gcm.open(at, clear, body, tag),
            Self::CounterMode(counter_mode) => counter_mode.open(at, clear, body, tag),
        }
    }
}

/// Galois/Counter mode (RFC 7714).
pub(super) struct Gcm {
    key: LessSafeKey,
    salt: [u8; 12],
    purpose: Purpose,
}

impl Gcm {
    fn new(keys: &SessionKeys, profile: SrtpProfile, purpose: Purpose) -> Result<Self, KeyError> {
        let algorithm = match profile {
            SrtpProfile::AeadAes256Gcm => &AES_256_GCM,
            SrtpProfile::AeadAes128Gcm | SrtpProfile::Aes128CmHmacSha1_80 => &AES_128_GCM,
        };
        let key = UnboundKey::new(algorithm, keys.cipher()).map_err(|_| KeyError::NotAccepted)?;
        let [salt @ .., _, _] = keys.salt;
        Ok(Self { key: LessSafeKey::new(key), salt, purpose })
    }

    fn seal(
        &self,
        at: Position,
        clear: InTheClear<'_>,
        body: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), CipherError> {
        let nonce = self.nonce(at);
        let sealed = match self.purpose {
            Purpose::Rtp => {
                self.key.seal_in_place_separate_tag(nonce, Aad::from(clear.head), body)?
            }
            Purpose::Rtcp => {
                let associated = Aad::from(rtcp_associated_data(clear)?);
                self.key.seal_in_place_separate_tag(nonce, associated, body)?
            }
        };
        let room = <&mut [u8; GCM_TAG_LEN]>::try_from(tag).map_err(|_| CipherError)?;
        *room = sealed.as_ref().try_into().map_err(|_| CipherError)?;
        Ok(())
    }

    fn open(
        &self,
        at: Position,
        clear: InTheClear<'_>,
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), CipherError> {
        let nonce = self.nonce(at);
        match self.purpose {
            Purpose::Rtp => {
                self.key.open_in_place_separate_tag(nonce, Aad::from(clear.head), tag, body)?;
            }
            Purpose::Rtcp => {
                let associated = Aad::from(rtcp_associated_data(clear)?);
                self.key.open_in_place_separate_tag(nonce, associated, tag, body)?;
            }
        }
        Ok(())
    }

    /// RFC 7714 §8.1 and §9.1: two zero bytes, SSRC and index, under the salt.
    fn nonce(&self, at: Position) -> Nonce {
        let [c0, c1, c2, c3] = at.ssrc.to_be_bytes();
        let [_, _, i0, i1, i2, i3, i4, i5] = at.index.to_be_bytes();
        let mut nonce = [0, 0, c0, c1, c2, c3, i0, i1, i2, i3, i4, i5];
        xor(&mut nonce, &self.salt);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// RFC 7714 §9.2: the first eight bytes, then the index with the bit that says "encrypted".
fn rtcp_associated_data(clear: InTheClear<'_>) -> Result<[u8; 12], CipherError> {
    let &[h0, h1, h2, h3, h4, h5, h6, h7] =
        <&[u8; 8]>::try_from(clear.head).map_err(|_| CipherError)?;
    let [t0, t1, t2, t3] = clear.trailer;
    Ok([h0, h1, h2, h3, h4, h5, h6, h7, t0, t1, t2, t3])
}

/// Counter mode and HMAC-SHA1 (RFC 3711 §4).
pub(super) struct CounterMode {
    cipher: EncryptingKey,
    /// With the key already taken in; cloned for every packet.
    authentication: Hmac<Sha1>,
    salt: [u8; 14],
}

impl CounterMode {
    fn new(keys: &SessionKeys) -> Result<Self, KeyError> {
        let authentication = Hmac::new_from_slice(&keys.authentication);
        Ok(Self {
            cipher: counter_mode(keys.cipher())?,
            authentication: authentication.map_err(|_| KeyError::NotAccepted)?,
            salt: keys.salt,
        })
    }

    fn seal(
        &self,
        at: Position,
        clear: InTheClear<'_>,
        body: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), CipherError> {
        self.encrypt(at, body)?;
        let whole = self.authenticate(clear, body).finalize().into_bytes();
        *tag.first_chunk_mut().ok_or(CipherError)? =
            *whole.first_chunk::<HMAC_TAG_LEN>().ok_or(CipherError)?;
        Ok(())
    }

    fn open(
        &self,
        at: Position,
        clear: InTheClear<'_>,
        body: &mut [u8],
        tag: &[u8],
    ) -> Result<(), CipherError> {
        if tag.len() != HMAC_TAG_LEN {
            return Err(CipherError);
        }
        // Compares in constant time.
        let verdict = self.authenticate(clear, body).verify_truncated_left(tag);
        verdict.map_err(|_| CipherError)?;
        self.encrypt(at, body)
    }

    /// The same operation both ways: the body under the key stream of its position (RFC 3711 §4.1.1).
    fn encrypt(&self, at: Position, body: &mut [u8]) -> Result<(), CipherError> {
        let start = EncryptionContext::Iv128(self.start(at).into());
        self.cipher.less_safe_encrypt(body, start)?;
        Ok(())
    }

    fn start(&self, at: Position) -> [u8; 16] {
        let [c0, c1, c2, c3] = at.ssrc.to_be_bytes();
        let [_, _, i0, i1, i2, i3, i4, i5] = at.index.to_be_bytes();
        let mut start = [0, 0, 0, 0, c0, c1, c2, c3, i0, i1, i2, i3, i4, i5, 0, 0];
        xor(&mut start, &self.salt);
        start
    }

    /// RFC 3711 §4.2: over what is sent, then the rollover counter or index.
    fn authenticate(&self, clear: InTheClear<'_>, body: &[u8]) -> Hmac<Sha1> {
        let mut authentication = self.authentication.clone();
        authentication.update(clear.head);
        authentication.update(body);
        authentication.update(&clear.trailer);
        authentication
    }
}

fn xor(bytes: &mut [u8], salt: &[u8]) {
    for (byte, salt) in bytes.iter_mut().zip(salt) {
        *byte ^= salt;
    }
}

#[cfg(test)]
mod tests;
