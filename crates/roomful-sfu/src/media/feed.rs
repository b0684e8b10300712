//! `Feed`: one track on its way to one subscriber.
//!
//! It decides with its [`Egress`] what of the track the subscriber gets and under which numbers, writes and seals
//! it where it will be sent from, and remembers enough to repeat any of it.

use std::time::Instant;

use roomful_rtp::Ssrc;
use roomful_rtp::rtp::{HeaderFields, red, write_header, write_padding};
use roomful_rtp::sender_report::SentStream;

use super::SessionKey;
use super::playout::DelayTeller;
use super::quality::Sending;
use super::ring::{Carried, Kept, PacketRing, Position};
use super::sent::{Sent, SentPackets};
use super::session::MediaSession;
use super::trailer::without_trailer;
use crate::egress::{
    Codec, Egress, Forward, IncomingPacket, Layer, MediaKind, Rewrite, Shape, Wanted,
};
use crate::transmit::TransmitBuffer;
use crate::transport::{OutgoingSsrcs, Section, SendFormat};

/// Bytes a sealed packet has beyond its payload and dependency descriptor at most: fixed header 12, extensions 4 + 3 + 4 (playout
/// delay), 2, 2 before a descriptor and a section's name of 17 (RFC 8285 §4.2), one more for each in the two-byte form and 3 to
/// fill the last word, original sequence number 2, and the longest SRTP tag 16 (RFC 3711 §3.1, RFC 7714 §13). Smaller would cut
/// packets off, larger only asks for room that stays unused.
pub(super) const OVERHEAD: usize = 80;

/// Repeats a subscriber may ask for beyond one for each packet sent: at the start, and after any time without
/// loss. A burst that loses half a second of 4 Mb/s fits. Larger lets one who asks for everything again and again
/// draw that much more, smaller leaves bursts unrepaired.
const MOST_REPEATS_LEFT: u16 = 256;

/// See the module text.
#[derive(Debug)]
pub(crate) struct Feed {
    pub(super) session: SessionKey,
    pub(super) ssrcs: OutgoingSsrcs,
    section: Section,
    egress: Egress,
    /// The format that was forwarded last, and how it is sent: consecutive packets nearly always share it.
    format: Option<(crate::transport::Format, Option<SendFormat>)>,
    sent: SentPackets,
    /// Extended sequence number of the next retransmission, in a stream of its own (RFC 4588 §4).
    repair_seq: u64,
    /// How many packets may be repeated: each packet sent adds one, so that repeats at most double the bitrate,
    /// whatever the subscriber claims to have lost.
    repeats_left: u16,
    /// The subscriber has reported on it, so it knows which section it belongs to. Until then every packet names its
    /// section (RFC 8843 §9.2): what arrives before the answer is read may otherwise be taken for another stream's.
    pub(super) is_known: bool,
    pub(super) sending: Sending,
    /// What was sent, for sender reports.
    pub(super) stream: SentStream,
    pub(super) newest: Option<Newest>,
    /// When the egress wants to be asked about keyframes again, as last set.
    pub(super) keyframe_timer: Option<Instant>,
    /// Tells the subscriber how long to hold pictures back, in rooms that say so.
    pub(super) delay: Option<Box<DelayTeller>>,
    /// The subscriber knows nothing of trailers behind pictures.
    pub(super) strips_trailers: bool,
}

/// How the timestamps of the newest packet relate to its publisher's.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    pub(super) layer: Layer,
    /// What was added to the publisher's timestamp; wraps.
    pub(super) offset: u32,
}

/// A packet of the track, where it stands in its ring, and how much it is padded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) position: Position,
    pub(super) padding: u8,
    pub(super) kept: &'a Kept,
    pub(super) payload: &'a [u8],
    /// Its dependency descriptor; empty if it has none.
    pub(super) descriptor: &'a [u8],
    /// What is known of the layers inside the track's encodings.
    pub(super) shape: &'a Shape,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fed {
    Sent,
    /// Not meant for this subscriber, or it cannot be sent now.
    Left,
    /// The buffer is full: nothing was decided yet.
    Full,
    /// The subscriber has asked for more repeats than it may.
    Refused,
}

impl Feed {
    pub(super) fn new(
        session: SessionKey,
        section: Section,
        ssrcs: OutgoingSsrcs,
        kind: MediaKind,
        first_seq: u16,
        now: Instant,
    ) -> Self {
        // Until it is known what comes.
        let usual = match kind {
            MediaKind::Audio => Codec::Opus,
            MediaKind::Video => Codec::Vp8,
        };
        Self {
            session,
            ssrcs,
            section,
            egress: Egress::new(kind, first_seq),
            format: None,
            sent: SentPackets::new(now),
            repair_seq: u64::from(first_seq & 0x7fff),
            repeats_left: MOST_REPEATS_LEFT,
            is_known: false,
            sending: Sending::default(),
            stream: SentStream::new(usual.clock_rate()),
            newest: None,
            keyframe_timer: None,
            delay: None,
            strips_trailers: false,
        }
    }

    pub(super) fn set_wanted(&mut self, wanted: Option<Wanted>, shape: &Shape) {
        self.egress.set_wanted(wanted, shape);
    }

    pub(super) fn handle_stream_reset(&mut self, layer: Layer) {
        self.egress.handle_stream_reset(layer);
    }

    pub(super) fn handle_keyframe_request(&mut self) {
        self.egress.handle_keyframe_request();
    }

    pub(super) fn poll_keyframe_request(&mut self, now: Instant) -> Option<Layer> {
        self.egress.poll_keyframe_request(now)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.egress.poll_timeout()
    }

    /// Forwards one packet of the track, if the subscriber gets it.
    pub(super) fn forward(
        &mut self,
        given: Given<'_>,
        session: &mut MediaSession,
        now: Instant,
        into: &mut TransmitBuffer,
    ) -> Fed {
        let Given { kept, payload, descriptor, .. } = given;
        let length = payload.len() + descriptor.len() + usize::from(given.padding);
        if !into.has_room(length + OVERHEAD) {
            return Fed::Full;
        }
        let incoming = IncomingPacket {
            layer: kept.layer,
            seq: kept.seq,
            timestamp: kept.timestamp,
            marker: kept.marker,
            payload,
            arrival: kept.arrival,
            codec: kept.format.codec,
            frame: kept.frame,
            shape: given.shape,
        };
        let Forward::Send(header) = self.egress.handle_packet(&incoming) else { return Fed::Left };
        let Some(format) = self.send_format(kept.format, session) else { return Fed::Left };
        // Whoever takes no redundancy gets the packet's own sound.
        let is_stripped = kept.format.codec == Codec::Red && format.inside.is_none();
        let payload = if is_stripped { red::primary(payload) } else { Some(payload) };
        let Some(payload) = payload else { return Fed::Left };
        let payload = self.wanted_part(payload, header.marker);
        let outgoing = Outgoing {
            fields: HeaderFields {
                marker: header.marker,
                payload_type: format.payload_type,
                sequence: header.seq as u16,
                timestamp: header.timestamp,
                ssrc: Ssrc(self.ssrcs.media),
            },
            index: header.seq,
            carried: kept.extensions,
            original: None,
            names: (!self.is_known).then_some(self.section),
            delay: self.delay.as_mut().and_then(|one| one.extension(header.seq as u16, now)),
            payload: if header.is_filler { &[] } else { payload },
            padding: if header.is_filler { 0 } else { given.padding },
            descriptor: if header.is_filler { &[] } else { descriptor },
            rewrite: header.rewrite,
            inside: format.inside,
        };
        if !session.send(&outgoing, now, into) {
            return Fed::Left;
        }
        self.stream.handle_sent(outgoing.payload.len());
        self.sending.handle_sent(header.seq);
        let offset = header.timestamp.wrapping_sub(kept.timestamp as u32);
        self.newest = Some(Newest { layer: kept.layer, offset });
        if format.repair.is_some() && !header.is_filler {
            self.repeats_left = MOST_REPEATS_LEFT.min(self.repeats_left + 1);
            let sent = Sent {
                seq: header.seq as u16,
                position: given.position,
                timestamp: header.timestamp,
                marker: header.marker,
                rewrite: header.rewrite,
            };
            self.sent.insert(sent, now);
        }
        Fed::Sent
    }

    /// Sends a packet again that was lost on the way (RFC 4588), as long as the subscriber has repeats left.
    pub(super) fn repeat(
        &mut self,
        sequence: u16,
        ring: &PacketRing,
        session: &mut MediaSession,
        now: Instant,
        into: &mut TransmitBuffer,
    ) -> Fed {
        if self.repeats_left == 0 {
            return Fed::Refused;
        }
        let Some(sent) = self.sent.take_for_repeat(sequence, now) else { return Fed::Left };
        let Some((kept, payload)) = ring.get(sent.position) else { return Fed::Left };
        let descriptor = ring.descriptor(kept);
        if !into.has_room(payload.len() + descriptor.len() + OVERHEAD) {
            return Fed::Full;
        }
        let format = self.send_format(kept.format, session).and_then(|one| one.repair);
        let (Some(payload_type), Some(ssrc)) = (format, self.ssrcs.repair) else {
            return Fed::Left;
        };
        let outgoing = Outgoing {
            fields: HeaderFields {
                marker: sent.marker,
                payload_type,
                sequence: self.repair_seq as u16,
                timestamp: sent.timestamp,
                ssrc: Ssrc(ssrc),
            },
            index: self.repair_seq,
            carried: kept.extensions,
            original: Some(sequence),
            names: (!self.is_known).then_some(self.section),
            delay: None,
            payload: self.wanted_part(payload, sent.marker),
            padding: 0,
            descriptor,
            rewrite: sent.rewrite,
            inside: None,
        };
        if !session.send(&outgoing, now, into) {
            return Fed::Left;
        }
        self.repair_seq += 1;
        self.repeats_left -= 1;
        Fed::Sent
    }

    /// What of a payload the subscriber is to get; `ends`: it is the last of its picture.
    fn wanted_part<'p>(&self, payload: &'p [u8], ends: bool) -> &'p [u8] {
        if self.strips_trailers && ends { without_trailer(payload) } else { payload }
    }

    fn send_format(
        &mut self,
        format: crate::transport::Format,
        session: &MediaSession,
    ) -> Option<SendFormat> {
        if let Some((of, sent_as)) = self.format
            && of == format
        {
            return sent_as;
        }
        let sent_as = session.negotiated.send_format(self.section, format);
        self.format = Some((format, sent_as));
        self.stream.set_clock_rate(format.codec.clock_rate());
        sent_as
    }

    /// The subscriber negotiated anew: payload types may have changed.
    pub(super) fn forget_format(&mut self) {
        self.format = None;
    }
}

/// One packet as it will stand on the wire.
pub(super) struct Outgoing<'a> {
    pub(super) fields: HeaderFields,
    /// Extended sequence number, the SRTP index (RFC 3711 §3.3.1).
    pub(super) index: u64,
    pub(super) carried: Carried,
    /// The sequence number it had first, for a retransmission.
    pub(super) original: Option<u16>,
    /// The section whose name it carries.
    pub(super) names: Option<Section>,
    /// How long pictures are to be held back, as it is written.
    pub(super) delay: Option<[u8; 3]>,
    pub(super) payload: &'a [u8],
    /// Bytes of padding behind the payload.
    pub(super) padding: u8,
    /// Its dependency descriptor; empty if it has none.
    pub(super) descriptor: &'a [u8],
    pub(super) rewrite: Option<Rewrite>,
    /// What its receiver calls the sound inside, if it is redundant audio.
    pub(super) inside: Option<u8>,
}

impl Outgoing<'_> {
    /// Writes header and payload to `out`; returns the lengths of the header and of the whole.
    pub(super) fn write<'e>(
        &self,
        elements: impl Iterator<Item = (u8, &'e [u8])> + Clone,
        out: &mut [u8],
    ) -> Option<(usize, usize)> {
        let header = write_header(out, &self.fields, elements)?;
        let mut at = header;
        if let Some(original) = self.original {
            out.get_mut(at..at + 2)?.copy_from_slice(&original.to_be_bytes());
            at += 2;
        }
        let body = out.get_mut(at..at + self.payload.len())?;
        body.copy_from_slice(self.payload);
        if let Some(Rewrite::Vp8(rewrite)) = &self.rewrite {
            rewrite.apply(body);
        }
        if let Some(inside) = self.inside {
            red::set_payload_types(body, inside);
        }
        let end = at + self.payload.len();
        match self.padding {
            0 => Some((header, end)),
            padding => Some((header, write_padding(out, end, padding)?)),
        }
    }
}
