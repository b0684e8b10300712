//! Sealing what is sent.

use super::cipher::{Cipher, CipherError, InTheClear};
use super::kdf::Purpose;
use super::{KeyError, MasterKey, Position, RTCP_INDEX_LEN, SrtpProfile};
use crate::rtp::MIN_HEADER_LEN;

/// Bytes of an RTCP packet that stay in the clear: its header and the sender's SSRC (RFC 3711 §3.4).
pub(super) const RTCP_CLEAR_LEN: usize = 8;

/// Set in the index behind an RTCP packet whose body is encrypted (RFC 3711 §3.4, "E").
pub(super) const RTCP_ENCRYPTED: u32 = 1 << 31;

/// Packet indices have 48 bits: rollover counter and sequence number.
const INDEX_END: u64 = 1 << 48;

/// Why a packet is not sealed. All of them are mistakes of the caller, or the end of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum SealError {
    /// The lengths contradict each other, or leave no header.
    #[error("the packet is shorter than its header")]
    BadLength,
    /// The tag does not fit behind the packet.
    #[error("no room for the SRTP tag")]
    NoRoom,
    /// The index does not end in the packet's sequence number: nobody could open it.
    #[error("the packet index is not that of the packet's sequence number")]
    WrongIndex,
    /// Every index has been used. A key must never seal two packets under one.
    #[error("the SRTP key has sealed as many packets as it may")]
    KeyUsedUp,
    /// The cryptographic library refused.
    #[error("the packet could not be encrypted")]
    Refused,
}

impl From<CipherError> for SealError {
    fn from(_: CipherError) -> Self {
        Self::Refused
    }
}

/// Seals the packets of one transport. Takes about 1.3 kB, nearly all of it expanded keys on the heap.
pub struct Sealer {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    /// Of the next RTCP packet, whatever its SSRC.
    rtcp_index: u32,
}

impl Sealer {
    /// Expands the keys that [`MasterKeys::from_exported`](super::MasterKeys::from_exported) found for sealing.
    ///
    /// # Errors
    /// If the cryptographic library does not accept them.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self {
            profile: master.profile,
            rtp: Cipher::new(master, Purpose::Rtp)?,
            rtcp: Cipher::new(master, Purpose::Rtcp)?,
            rtcp_index: 0,
        })
    }

    /// What the keys are for.
    pub const fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Seals an RTP packet in place and returns how long it is now: by [`SrtpProfile::rtp_overhead`] longer.
    ///
    /// The first `plain_len` bytes of `packet` are the plain packet, the first `header_len` of these its header; behind
    /// them there is room for the tag. `index` is the extended sequence number of the packet within its SSRC,
    /// beginning with a rollover counter of 0: the low 16 bits are its sequence number.
    ///
    /// **Two different packets must never be sealed under one SSRC and index**: in Galois/Counter mode that gives the
    /// key away. Whoever repeats a packet repeats it byte by byte, or under another SSRC (RFC 4588).
    ///
    /// # Errors
    /// See [`SealError`]; after [`SealError::Refused`] the contents are undefined, otherwise unchanged.
    pub fn seal_rtp(
        &self,
        packet: &mut [u8],
        header_len: usize,
        plain_len: usize,
        index: u64,
    ) -> Result<usize, SealError> {
        if header_len < MIN_HEADER_LEN || header_len > plain_len || packet.len() < plain_len {
            return Err(SealError::BadLength);
        }
        let sealed_len = plain_len + self.profile.rtp_overhead();
        let packet = packet.get_mut(..sealed_len).ok_or(SealError::NoRoom)?;
        let (plain, tag) = packet.split_at_mut(plain_len);
        let (head, body) = plain.split_at_mut(header_len);
        let at = position(head, index)?;
        // The rollover counter: the upper 32 of 48 bits.
        let trailer = ((index >> 16) as u32).to_be_bytes();
        self.rtp.seal(at, InTheClear { head, trailer }, body, tag)?;
        Ok(sealed_len)
    }

    /// Seals a compound RTCP packet in place and returns how long it is now: by [`SrtpProfile::rtcp_overhead`] longer.
    ///
    /// The first `plain_len` bytes of `packet` are the plain compound; behind them there is room for index and tag.
    ///
    /// # Errors
    /// See [`SealError`]; after [`SealError::Refused`] the contents are undefined, otherwise unchanged.
    pub fn seal_rtcp(&mut self, packet: &mut [u8], plain_len: usize) -> Result<usize, SealError> {
        if plain_len < RTCP_CLEAR_LEN || packet.len() < plain_len {
            return Err(SealError::BadLength);
        }
        let sealed_len = plain_len + self.profile.rtcp_overhead();
        let packet = packet.get_mut(..sealed_len).ok_or(SealError::NoRoom)?;
        if self.rtcp_index >= RTCP_ENCRYPTED {
            return Err(SealError::KeyUsedUp);
        }
        let (plain, behind) = packet.split_at_mut(plain_len);
        let (head, body) = plain.split_at_mut(RTCP_CLEAR_LEN);
        let (tag, index) = split_behind(self.profile, behind).ok_or(SealError::NoRoom)?;
        let at = Position { ssrc: rtcp_sender(head), index: self.rtcp_index.into() };
        let trailer = (self.rtcp_index | RTCP_ENCRYPTED).to_be_bytes();
        // Counted before it is used: whatever comes of it, no other packet gets it.
        self.rtcp_index += 1;
        *index = trailer;
        self.rtcp.seal(at, InTheClear { head, trailer }, body, tag)?;
        Ok(sealed_len)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sealer").field("profile", &self.profile).finish_non_exhaustive()
    }
}

/// Whose packet it is, and which: `head` is an RTP header.
fn position(head: &[u8], index: u64) -> Result<Position, SealError> {
    let &[_, _, s0, s1, _, _, _, _, c0, c1, c2, c3] =
        head.first_chunk::<MIN_HEADER_LEN>().ok_or(SealError::BadLength)?;
    if index >= INDEX_END {
        return Err(SealError::KeyUsedUp);
    }
    if index as u16 != u16::from_be_bytes([s0, s1]) {
        return Err(SealError::WrongIndex);
    }
    Ok(Position { ssrc: u32::from_be_bytes([c0, c1, c2, c3]), index })
}

/// The sender's SSRC, from the part of an RTCP packet that stays in the clear.
pub(super) fn rtcp_sender(head: &[u8]) -> u32 {
    head.last_chunk().map_or(0, |ssrc| u32::from_be_bytes(*ssrc))
}

/// Tag and index: what follows a sealed RTCP packet. Galois/Counter mode has the tag first (RFC 7714 §9.3), the other
/// profile the index (RFC 3711 §3.4).
pub(super) fn split_behind(
    profile: SrtpProfile,
    behind: &mut [u8],
) -> Option<(&mut [u8], &mut [u8; RTCP_INDEX_LEN])> {
    match profile {
        SrtpProfile::AeadAes128Gcm | SrtpProfile::AeadAes256Gcm => behind.split_last_chunk_mut(),
        SrtpProfile::Aes128CmHmacSha1_80 => {
            let (index, tag) = behind.split_first_chunk_mut()?;
            Some((tag, index))
        }
    }
}
