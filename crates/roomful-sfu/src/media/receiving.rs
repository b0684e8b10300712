//! RTP on its way in: opened, told apart, kept.

use std::time::Instant;

use roomful_rtp::rtp::RtpHeader;
use roomful_rtp::rtp::red::Red;

use super::audibility::Verdict;
use super::incoming::Place;
use super::ring::{Arrived, Carried};
use super::session::MediaSession;
use super::track::Track;
use super::{Heard, MediaPlane, SessionKey, TrackKey};
use crate::egress::codec::Codec;
use crate::egress::codec::starts_keyframe;
use crate::egress::{MediaKind, Observed};
use crate::speakers::AudioLevel;
use crate::transport::{Format, Payload};

impl MediaPlane {
    /// Takes in an RTP packet of a session, decrypted in place. Returns the sound that was heard in it.
    pub(super) fn handle_rtp(
        &mut self,
        key: SessionKey,
        packet: &mut [u8],
        now: Instant,
    ) -> Option<Heard> {
        let session = self.sessions.get_mut(key)?;
        let (header, length, seq) = session.open_rtp(packet, &mut self.drops)?;
        let plain = &packet[..length];
        let Ok(payload) = header.payload(plain) else {
            self.drops.malformed += 1;
            return None;
        };
        let (extensions, descriptor) = session.read_extensions(&header, plain, now);
        if session.is_broken(&header, payload) {
            self.drops.malformed += 1;
            return None;
        }
        let Some((place, codec_payload, format)) = session.place(&header, seq, plain, payload, now)
        else {
            self.drops.unknown += 1;
            return None;
        };
        self.schedule_feedback(key);
        self.schedule_nack(key);
        let track_key = *self.sessions.get(key)?.tracks.get(&place.section)?;
        if self.tracks.get(track_key)?.muted {
            return None;
        }
        // Others do without, and would need other frame numbers for each of their encodings.
        let descriptor = if format.codec == Codec::Av1 { descriptor } else { &[] };
        let arrived = Arrived {
            layer: place.layer,
            seq: place.seq,
            timestamp: place.timestamp,
            marker: header.marker,
            arrival: now,
            format,
            extensions,
            payload: codec_payload,
            descriptor,
        };
        self.take_in(track_key, &arrived, place.is_restart);
        Some(Heard { level: AudioLevel(arrived.level()? & 0x7f) })
    }

    /// Keeps a packet of a track for everyone who is to get it. Other parts of the room judge for themselves what is
    /// heard, so that everyone hears the same.
    pub(super) fn take_in(&mut self, key: TrackKey, packet: &Arrived<'_>, is_restart: bool) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        track.links.copy(packet, is_restart, &mut self.links);
        let verdict = self.audibility.judge(key, packet.level(), packet.arrival);
        if is_restart || verdict == Verdict::Begin {
            track.restart(packet.layer);
        }
        if verdict != Verdict::LeaveOut {
            track.take_in(packet);
            self.wait(key);
        }
    }

    fn wait(&mut self, key: TrackKey) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if std::mem::replace(&mut track.waits, true) {
            return;
        }
        match track.kind {
            MediaKind::Audio => self.waiting_audio.push_back(key),
            MediaKind::Video => self.waiting_video.push_back(key),
        }
    }
}

impl Arrived<'_> {
    /// The loudness in it, if it is sound and says so.
    fn level(&self) -> Option<u8> {
        self.extensions.level.filter(|_| self.format.codec.is_audio())
    }
}

impl Track {
    /// Keeps a packet for everyone who is to get it, and before it what it brings of lost ones.
    fn take_in(&mut self, packet: &Arrived<'_>) {
        if starts_keyframe(packet.format.codec, packet.payload) {
            self.throttles[packet.layer.index()].handle_keyframe();
        }
        let Arrived { layer, timestamp, payload, descriptor, .. } = *packet;
        let codec = packet.format.codec;
        if codec.is_audio() {
            if !self.recovery.note(packet.seq) {
                return;
            }
            let ring = &mut self.ring;
            self.recovery.recover(packet, |lost| ring.push(lost, None));
        }
        let frame = self.layers.observe(&Observed { codec, layer, timestamp, payload, descriptor });
        self.ring.push(packet, frame);
    }
}

impl MediaSession {
    /// Takes in what a packet's header extensions say; returns its dependency descriptor, too, empty if it has none.
    fn read_extensions<'a>(
        &mut self,
        header: &RtpHeader,
        plain: &'a [u8],
        now: Instant,
    ) -> (Carried, &'a [u8]) {
        let ids = self.negotiated.extensions;
        let mut carried = Carried::default();
        let mut descriptor: &[u8] = &[];
        for (id, value) in header.extensions(plain) {
            let id = Some(id);
            match value {
                [high, low, ..] if id == ids.transport_sequence => {
                    self.arrivals.record(u16::from_be_bytes([*high, *low]), plain.len(), now);
                }
                [level, ..] if id == ids.audio_level => carried.level = Some(*level),
                [orientation, ..] if id == ids.orientation => {
                    carried.orientation = Some(*orientation)
                }
                value if id == ids.dependency_descriptor => descriptor = value,
                _ => {}
            }
        }
        (carried, descriptor)
    }

    /// Whether it is redundant audio that cannot be read, or holds what was not agreed on. What is let in is not checked
    /// again.
    fn is_broken(&self, header: &RtpHeader, payload: &[u8]) -> bool {
        let Some(Payload::Redundant(of)) = self.negotiated.payloads.get(&header.payload_type)
        else {
            return false;
        };
        Red::parse(payload).map_or(true, |red| {
            red.primary_type() != *of || red.blocks().any(|block| block.payload_type != *of)
        })
    }

    /// Which stream a packet belongs to, what of it is payload, and of which format.
    fn place<'a>(
        &mut self,
        header: &RtpHeader,
        seq: u64,
        plain: &[u8],
        payload: &'a [u8],
        now: Instant,
    ) -> Option<(Place, &'a [u8], Format)> {
        let negotiated = &self.negotiated;
        let payload_is = *negotiated.payloads.get(&header.payload_type)?;
        match payload_is {
            Payload::Media(_) | Payload::Redundant(_) => {
                let format = match payload_is {
                    Payload::Media(format) => format,
                    _ => Format::RED,
                };
                let place = self.incoming.place(header, seq, plain, format, negotiated, now)?;
                Some((place, payload, format))
            }
            Payload::Repair(of) => {
                let Payload::Media(format) = *negotiated.payloads.get(&of)? else { return None };
                // Retransmissions without content probe the path (RFC 4588 §4 asks for two bytes at least).
                let (original, payload) = payload.split_first_chunk::<2>()?;
                let original = u16::from_be_bytes(*original);
                let place = self.incoming.place_repeated(header, original, plain, negotiated)?;
                Some((place, payload, format))
            }
        }
    }
}
