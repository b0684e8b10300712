//! Opening what arrives.

use super::cipher::{Cipher, CipherError, InTheClear};
use super::kdf::Purpose;
use super::replay::Stale;
use super::sealer::{RTCP_CLEAR_LEN, RTCP_ENCRYPTED, rtcp_sender, split_behind};
use super::streams::Streams;
use super::{KeyError, MasterKey, Position, SrtpProfile};
use crate::Ssrc;
use crate::rtp::{RtpError, RtpHeader, nearest};

/// 960 packets of RTP: a packet repaired under its own number arrives that late from a fast video stream. RFC 3711 §3.3.2
/// asks for 64 at least. Larger costs a bit per packet and stream; smaller refuses such repairs.
const RTP_WORDS: usize = 16;

/// 128 packets of RTCP, of which there are some 10 to 50 a second.
const RTCP_WORDS: usize = 3;

/// Why a packet is not opened. None of them changes what is known about its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum OpenError {
    /// There is no room for a header and a tag in it.
    #[error("too short for a sealed packet")]
    TooShort,
    /// Not RTP or RTCP, or RTCP that says it is not encrypted.
    #[error("not the header of a sealed packet")]
    BadHeader,
    /// Changed on the way, or not from whoever has the key.
    #[error("not authentic")]
    Unauthentic,
    /// It was opened before.
    #[error("opened before")]
    Replayed,
    /// So old that it is not known whether it was opened before.
    #[error("too old to tell whether it was opened before")]
    TooOld,
}

impl From<RtpError> for OpenError {
    fn from(error: RtpError) -> Self {
        match error {
            RtpError::TooShort => Self::TooShort,
            RtpError::WrongVersion
            | RtpError::SourcesCutShort
            | RtpError::ExtensionCutShort
            | RtpError::BadPadding => Self::BadHeader,
        }
    }
}

impl From<CipherError> for OpenError {
    fn from(_: CipherError) -> Self {
        Self::Unauthentic
    }
}

impl From<Stale> for OpenError {
    fn from(stale: Stale) -> Self {
        match stale {
            Stale::Replayed => Self::Replayed,
            Stale::TooOld => Self::TooOld,
        }
    }
}

/// An RTP packet that was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its header.
    pub header: RtpHeader,
    /// Bytes of the packet without its tag.
    pub plain_len: usize,
    /// The extended sequence number within its SSRC: rollover counter, then sequence number. 48 bits.
    pub index: u64,
}

/// Opens the packets of one transport. Takes about 1.4 kB, nearly all of it expanded keys on the heap, and 152 bytes
/// more for each stream of RTP it hears, 48 for each that reports.
pub struct Opener {
    profile: SrtpProfile,
    rtp: Cipher,
    rtcp: Cipher,
    rtp_streams: Streams<RTP_WORDS>,
    /// Apart from the others: each sender SSRC counts its RTCP packets for itself, and may send nothing else.
    rtcp_streams: Streams<RTCP_WORDS>,
}

impl Opener {
    /// Streams remembered of RTP and as many of RTCP; a new one beyond that takes the place of the one silent for longest.
    pub const MAX_STREAMS: usize = Streams::<RTP_WORDS>::MOST;

    /// How many packets behind the newest of its stream an RTP packet may be.
    pub const RTP_WINDOW: u64 = super::replay::Replay::<RTP_WORDS>::WINDOW;

    /// Expands the keys that [`MasterKeys::from_exported`](super::MasterKeys::from_exported) found for opening.
    ///
    /// # Errors
    /// If the cryptographic library does not accept them.
    pub fn new(master: &MasterKey) -> Result<Self, KeyError> {
        Ok(Self {
            profile: master.profile,
            rtp: Cipher::new(master, Purpose::Rtp)?,
            rtcp: Cipher::new(master, Purpose::Rtcp)?,
            rtp_streams: Streams::new(),
            rtcp_streams: Streams::new(),
        })
    }

    /// What the keys are for.
    pub const fn profile(&self) -> SrtpProfile {
        self.profile
    }

    /// Opens a sealed RTP packet in place: afterwards the first [`Opened::plain_len`] bytes are the plain one.
    ///
    /// # Errors
    /// See [`OpenError`]. The contents are then undefined.
    pub fn open_rtp(&mut self, packet: &mut [u8]) -> Result<Opened, OpenError> {
        let header = RtpHeader::parse(packet)?;
        let plain_len = packet
            .len()
            .checked_sub(self.profile.rtp_overhead())
            .filter(|plain_len| *plain_len >= header.header_len())
            .ok_or(OpenError::TooShort)?;
        let place = self.rtp_streams.find(header.ssrc);
        let index = match self.rtp_streams.replay(place) {
            Some(replay) => {
                let index = nearest::<16>(replay.highest(), header.sequence.into());
                replay.check(index)?;
                index
            }
            None => header.sequence.into(),
        };
        let (plain, tag) = packet.split_at_mut(plain_len);
        let (head, body) = plain.split_at_mut(header.header_len());
        // The rollover counter: the upper 32 of 48 bits.
        let trailer = ((index >> 16) as u32).to_be_bytes();
        let at = Position { ssrc: header.ssrc.0, index };
        self.rtp.open(at, InTheClear { head, trailer }, body, tag)?;
        self.rtp_streams.accept(place, header.ssrc, index);
        Ok(Opened { header, plain_len, index })
    }

    /// Opens a sealed RTCP packet in place and returns how long the plain compound at its front is.
    ///
    /// # Errors
    /// See [`OpenError`]. The contents are then undefined.
    pub fn open_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, OpenError> {
        let plain_len = packet
            .len()
            .checked_sub(self.profile.rtcp_overhead())
            .filter(|plain_len| *plain_len >= RTCP_CLEAR_LEN)
            .ok_or(OpenError::TooShort)?;
        let (plain, behind) = packet.split_at_mut(plain_len);
        let (head, body) = plain.split_at_mut(RTCP_CLEAR_LEN);
        let (tag, trailer) = split_behind(self.profile, behind).ok_or(OpenError::TooShort)?;
        let marked = u32::from_be_bytes(*trailer);
        let is_version_2 = head.first().is_some_and(|flags| flags >> 6 == 2);
        if !is_version_2 || marked & RTCP_ENCRYPTED == 0 {
            return Err(OpenError::BadHeader);
        }
        let at = Position { ssrc: rtcp_sender(head), index: (marked & !RTCP_ENCRYPTED).into() };
        let place = self.rtcp_streams.find(Ssrc(at.ssrc));
        if let Some(replay) = self.rtcp_streams.replay(place) {
            replay.check(at.index)?;
        }
        self.rtcp.open(at, InTheClear { head, trailer: *trailer }, body, tag)?;
        self.rtcp_streams.accept(place, Ssrc(at.ssrc), at.index);
        Ok(plain_len)
    }

    /// Forgets a stream that has ended. If it comes again it begins anew, with a rollover counter of 0; packets of its
    /// beginning could then be replayed, so it must not be wanted any more.
    pub fn forget(&mut self, ssrc: Ssrc) {
        self.rtp_streams.forget(ssrc);
        self.rtcp_streams.forget(ssrc);
    }

    /// Streams of RTP remembered now.
    pub const fn streams(&self) -> usize {
        self.rtp_streams.len()
    }
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("profile", &self.profile).finish_non_exhaustive()
    }
}
