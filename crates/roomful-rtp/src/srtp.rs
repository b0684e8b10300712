//! SRTP: sealing what is sent and opening what arrives (RFC 3711, RFC 7714), with keys from a DTLS handshake
//! (RFC 5764).
//!
//! [`MasterKeys::from_exported`] splits what the handshake exports; [`Sealer`] and [`Opener`] are made of one half each.
//! Both work in place and allocate nothing for a packet; an opener remembers each stream it hears, up to a bound.
//!
//! Not here, because WebRTC never negotiates it: key derivation rates other than 0, master key identifiers, SRTCP in
//! the clear, and algorithms without authentication.

mod cipher;
mod kdf;
mod opener;
mod replay;
mod sealer;
mod streams;

use std::fmt;

pub use opener::{OpenError, Opened, Opener};
pub use sealer::{SealError, Sealer};

/// Bytes of the number behind every sealed RTCP packet, with the bit that says it is encrypted (RFC 3711 §3.4).
const RTCP_INDEX_LEN: usize = 4;

/// The algorithms and key lengths that a DTLS handshake can agree upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SrtpProfile {
    /// AES-128 in Galois/Counter mode (RFC 7714): the fastest.
    AeadAes128Gcm,
    /// AES-256 in Galois/Counter mode (RFC 7714).
    AeadAes256Gcm,
    /// AES-128 in counter mode with HMAC-SHA1 cut to 80 bits (RFC 3711): what everybody has.
    Aes128CmHmacSha1_80,
}

impl SrtpProfile {
    /// The number of the profile in the `use_srtp` extension of DTLS (RFC 5764 §4.1.2, RFC 7714 §14.2).
    pub const fn id(self) -> u16 {
        match self {
            Self::AeadAes128Gcm => 0x0007,
            Self::AeadAes256Gcm => 0x0008,
            Self::Aes128CmHmacSha1_80 => 0x0001,
        }
    }

    /// Bytes of a master key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::Aes128CmHmacSha1_80 => 16,
            Self::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of a master salt.
    pub const fn salt_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => 12,
            Self::Aes128CmHmacSha1_80 => 14,
        }
    }

    /// Bytes that the DTLS handshake exports: a key and a salt for each direction.
    pub const fn exported_len(self) -> usize {
        2 * (self.key_len() + self.salt_len())
    }

    /// Bytes by which sealing makes an RTP packet longer.
    pub const fn rtp_overhead(self) -> usize {
        self.tag_len()
    }

    /// Bytes by which sealing makes an RTCP packet longer.
    pub const fn rtcp_overhead(self) -> usize {
        self.tag_len() + RTCP_INDEX_LEN
    }

    const fn tag_len(self) -> usize {
        match self {
            Self::AeadAes128Gcm | Self::AeadAes256Gcm => cipher::GCM_TAG_LEN,
            Self::Aes128CmHmacSha1_80 => cipher::HMAC_TAG_LEN,
        }
    }
}

/// Which side of the DTLS handshake this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// It sent the ClientHello (`a=setup:active`).
    Client,
    /// It waited for it (`a=setup:passive`).
    Server,
}

/// Why keying material is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum KeyError {
    /// It is of another length than the profile's.
    #[error("{found} bytes of SRTP keying material, {expected} expected")]
    WrongLength {
        /// [`SrtpProfile::exported_len`], or the length of a key or salt.
        expected: usize,
        /// What there is.
        found: usize,
    },
    /// The cryptographic library does not take it.
    #[error("the SRTP keying material is not accepted")]
    NotAccepted,
}

/// The master key and salt of one direction.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    profile: SrtpProfile,
    key: [u8; MAX_KEY_LEN],
    salt: [u8; MAX_SALT_LEN],
}

const MAX_KEY_LEN: usize = 32;
const MAX_SALT_LEN: usize = 14;

impl MasterKey {
    /// From `key` and `salt` as they are on their own.
    ///
    /// # Errors
    /// If one of them has another length than the profile's.
    pub fn new(profile: SrtpProfile, key: &[u8], salt: &[u8]) -> Result<Self, KeyError> {
        Ok(Self {
            profile,
            key: padded(key, profile.key_len())?,
            salt: padded(salt, profile.salt_len())?,
        })
    }

    fn key(&self) -> &[u8] {
        self.key.get(..self.profile.key_len()).unwrap_or_default()
    }
}

/// Says no more than what kind of key it is.
impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// `bytes`, which must be `expected` long, followed by zeros.
fn padded<const N: usize>(bytes: &[u8], expected: usize) -> Result<[u8; N], KeyError> {
    let wrong = KeyError::WrongLength { expected, found: bytes.len() };
    let mut out = [0; N];
    out.get_mut(..expected)
        .filter(|room| room.len() == bytes.len())
        .ok_or(wrong)?
        .copy_from_slice(bytes);
    Ok(out)
}

/// The master keys of both directions of a transport.
#[derive(Clone, Debug)]
pub struct MasterKeys {
    /// For the [`Sealer`].
    pub seal: MasterKey,
    /// For the [`Opener`].
    pub open: MasterKey,
}

impl MasterKeys {
    /// Splits what a DTLS handshake exports under `EXTRACTOR-dtls_srtp`: the keys of client and server, then their
    /// salts (RFC 5764 §4.2). Each side seals with its own.
    ///
    /// # Errors
    /// If `exported` is not [`SrtpProfile::exported_len`] long.
    pub fn from_exported(
        profile: SrtpProfile,
        exported: &[u8],
        role: DtlsRole,
    ) -> Result<Self, KeyError> {
        let (expected, found) = (profile.exported_len(), exported.len());
        if found != expected {
            return Err(KeyError::WrongLength { expected, found });
        }
        let (keys, salts) = exported.split_at(2 * profile.key_len());
        let (client_key, server_key) = keys.split_at(profile.key_len());
        let (client_salt, server_salt) = salts.split_at(profile.salt_len());
        let client = MasterKey::new(profile, client_key, client_salt)?;
        let server = MasterKey::new(profile, server_key, server_salt)?;
        Ok(match role {
            DtlsRole::Client => Self { seal: client, open: server },
            DtlsRole::Server => Self { seal: server, open: client },
        })
    }
}

/// The parts of a packet that go into its nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    ssrc: u32,
    /// 48 bits for RTP (rollover counter and sequence number), 31 for RTCP.
    index: u64,
}
