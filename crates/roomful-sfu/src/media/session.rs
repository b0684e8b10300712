//! `MediaSession`: the RTP side of one participant's transport.
//!
//! Keys, where its datagrams go, what was negotiated, the streams it sends, and which feeds it receives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use roomful_rtp::rtcp::TransportFeedback;
use roomful_rtp::rtp::RtpHeader;
use roomful_rtp::rtp::dependency::shift_frame_number;
use roomful_rtp::rtp::extension::AbsSendTime;
use roomful_rtp::rtt::RttEstimator;
use roomful_rtp::srtp::{MasterKeys, OpenError, Opener, Sealer};
use roomful_rtp::twcc::{ArrivalLog, PathMeter, SentLog};

use super::feed::{OVERHEAD, Outgoing};
use super::incoming::Incoming;
use super::quality::QualityJudge;
use super::reports::ReportTimes;
use super::track::FeedSlot;
use super::{MediaDrops, TrackKey};
use crate::egress::Rewrite;
use crate::ids::ParticipantId;
use crate::route::Route;
use crate::transmit::TransmitBuffer;
use crate::transport::{Negotiated, Section};

/// See the module text.
#[derive(Debug)]
pub(crate) struct MediaSession {
    pub(super) owner: ParticipantId,
    /// Binds its sound and pictures to one clock (CNAME, RFC 3550 §6.5.1).
    pub(super) cname: Box<str>,
    srtp: Option<Srtp>,
    pub(super) path: Option<Route>,
    pub(crate) negotiated: Arc<Negotiated>,
    pub(super) incoming: Incoming,
    /// Which track arrives in which section.
    pub(super) tracks: BTreeMap<Section, TrackKey>,
    /// What this participant receives, by SSRC and by the SSRC of its retransmissions.
    pub(super) feeds: BTreeMap<u32, (TrackKey, FeedSlot)>,
    /// When its packets arrived, to be told to it.
    pub(super) arrivals: ArrivalLog,
    /// What was sent to it, until it tells what arrived.
    sent: SentLog,
    /// What that says of the path.
    path_meter: PathMeter,
    pub(super) times: ReportTimes,
    /// Round trip between this server and the participant, as its reports show (RFC 3550 §6.4.1).
    pub(super) round_trip: RttEstimator,
    pub(super) quality: QualityJudge,
}

/// Bytes of a section's name that a header extension of one byte's header can carry (RFC 8285 §4.2); longer ones go
/// without. Browsers count sections from 0.
const LONGEST_NAME: usize = 16;

/// Bytes of the longest header extension there can be (RFC 8285 §4.3).
const LONGEST_DESCRIPTOR: usize = 255;

struct Srtp {
    opener: Opener,
    sealer: Sealer,
}

impl MediaSession {
    /// A session without keys: nothing is received or sent until [`MediaSession::set_keys`].
    pub(super) fn new(owner: ParticipantId, cname: &str, now: Instant) -> Self {
        Self {
            owner,
            cname: cname.into(),
            srtp: None,
            path: None,
            negotiated: Arc::default(),
            incoming: Incoming::default(),
            tracks: BTreeMap::new(),
            feeds: BTreeMap::new(),
            arrivals: ArrivalLog::default(),
            sent: SentLog::new(),
            path_meter: PathMeter::default(),
            times: ReportTimes::new(owner, now),
            round_trip: RttEstimator::default(),
            quality: QualityJudge::default(),
        }
    }

    pub(super) fn set_keys(&mut self, keys: &MasterKeys) {
        match (Opener::new(&keys.open), Sealer::new(&keys.seal)) {
            (Ok(opener), Ok(sealer)) => self.srtp = Some(Srtp { opener, sealer }),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "the SRTP keys are unusable: no media will flow");
            }
        }
    }

    /// Decrypts an RTP packet in place. Returns its header, its length without the tag, and its extended sequence number.
    pub(super) fn open_rtp(
        &mut self,
        packet: &mut [u8],
        drops: &mut MediaDrops,
    ) -> Option<(RtpHeader, usize, u64)> {
        let Some(srtp) = &mut self.srtp else {
            drops.early += 1;
            return None;
        };
        match srtp.opener.open_rtp(packet) {
            Ok(opened) => Some((opened.header, opened.plain_len, opened.index)),
            Err(error) => {
                drops.count(error);
                None
            }
        }
    }

    /// Decrypts an RTCP packet in place; returns its length without index and tag.
    pub(super) fn open_rtcp(&mut self, packet: &mut [u8], drops: &mut MediaDrops) -> Option<usize> {
        let Some(srtp) = &mut self.srtp else {
            drops.early += 1;
            return None;
        };
        srtp.opener.open_rtcp(packet).inspect_err(|error| drops.count(*error)).ok()
    }

    /// Writes and seals one packet into `into`; `false` if it cannot be sent.
    pub(super) fn send(
        &mut self,
        packet: &Outgoing<'_>,
        now: Instant,
        into: &mut TransmitBuffer,
    ) -> bool {
        let Self { srtp: Some(srtp), path: Some(path), negotiated, sent, times, .. } = self else {
            return false;
        };
        let extensions = &negotiated.extensions;
        let sequence = sent.next_seq().to_be_bytes();
        // Either of the two serves a receiver's bandwidth estimate; the other would be bytes for nothing.
        let send_time =
            extensions.absolute_send_time.filter(|_| extensions.transport_sequence.is_none()).map(
                |id| (id, AbsSendTime::new(now.saturating_duration_since(times.epoch)).to_bytes()),
            );
        let (level, orientation) = (packet.carried.level, packet.carried.orientation);
        let (level_byte, orientation_byte) = ([level.unwrap_or(0)], [orientation.unwrap_or(0)]);
        let name = packet.names.and_then(|section| negotiated.sections.get(section.index()));
        let name = name.map(|section| section.mid.as_bytes());
        let mut shifted;
        let descriptor = match packet.rewrite {
            Some(Rewrite::FrameNumber(shift)) => {
                shifted = [0; LONGEST_DESCRIPTOR];
                let copy = shifted.get_mut(..packet.descriptor.len()).unwrap_or_default();
                copy.copy_from_slice(packet.descriptor.get(..copy.len()).unwrap_or_default());
                shift_frame_number(copy, shift);
                &*copy
            }
            _ => packet.descriptor,
        };
        let elements: [Option<(u8, &[u8])>; 7] = [
            extensions.transport_sequence.map(|id| (id, &sequence[..])),
            send_time.as_ref().map(|(id, bytes)| (*id, &bytes[..])),
            extensions.audio_level.filter(|_| level.is_some()).map(|id| (id, &level_byte[..])),
            extensions
                .orientation
                .filter(|_| orientation.is_some())
                .map(|id| (id, &orientation_byte[..])),
            extensions.playout_delay.zip(packet.delay.as_ref().map(|bytes| &bytes[..])),
            extensions
                .dependency_descriptor
                .filter(|_| !descriptor.is_empty())
                .map(|id| (id, descriptor)),
            extensions.mid.zip(name.filter(|name| (1..=LONGEST_NAME).contains(&name.len()))),
        ];
        let sealer = &srtp.sealer;
        let capacity =
            packet.payload.len() + descriptor.len() + usize::from(packet.padding) + OVERHEAD;
        let mut length = 0;
        let written = into.write(*path, capacity, |out| {
            let (header, plain) = packet.write(elements.iter().flatten().copied(), out)?;
            length = sealer.seal_rtp(out, header, plain, packet.index).ok()?;
            Some(length)
        });
        if written && extensions.transport_sequence.is_some() {
            sent.sent(length, now);
        }
        written
    }

    /// Takes in what the participant says of packets sent to it.
    pub(super) fn handle_feedback(&mut self, feedback: &TransportFeedback<'_>) {
        for packet in self.sent.handle_feedback(feedback) {
            self.path_meter.handle(&packet);
        }
    }

    /// Seals a compound RTCP packet in place; `None` if there is no way to send it.
    pub(super) fn seal_rtcp(&mut self, packet: &mut [u8], plain: usize) -> Option<(Route, usize)> {
        let length = self.srtp.as_mut()?.sealer.seal_rtcp(packet, plain).ok()?;
        Some((self.path?, length))
    }
}

impl MediaDrops {
    fn count(&mut self, error: OpenError) {
        match error {
            OpenError::Replayed | OpenError::TooOld => self.replayed += 1,
            OpenError::Unauthentic => self.unauthentic += 1,
            _ => self.malformed += 1,
        }
    }
}

impl std::fmt::Debug for Srtp {
    /// Never the keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Srtp").finish_non_exhaustive()
    }
}
