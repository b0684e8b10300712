//! Streams this program sends: frames of packets, and what was sent once more when asked for.

use std::time::Duration;

use roomful_rtp::Ssrc;
use roomful_rtp::rtp::{HeaderFields, write_header};
use roomful_rtp::srtp::Sealer;

use super::mark::{Mark, RunId, StreamKind};
use super::payload::{self, MAX_PAYLOAD_BYTES, MIN_PAYLOAD_BYTES, Position};
use crate::clock::Stamp;
use crate::participant::ParticipantId;
use crate::sdp::{Format, extension};

/// Room for header, extensions, and the longest SRTP tag.
const OVERHEAD_BYTES: usize = 72;

/// Packets kept for retransmission: two seconds of the highest layer at usual rates, as browsers keep one
/// to three. Fewer lose repairs a browser would make.
const HISTORY: usize = 512;

/// The size and pace of a stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) packets_per_frame: usize,
    /// RTP payload of each packet in bytes.
    pub(crate) payload_bytes: usize,
    pub(crate) interval: Duration,
}

impl Shape {
    /// Opus as browsers send it: 20 ms a packet, about 40 kb/s.
    pub(crate) const OPUS: Self =
        Self { packets_per_frame: 1, payload_bytes: 100, interval: Duration::from_millis(20) };

    /// The same camera at a lower layer: a third of the packets for each step down, as the pixels of
    /// `livekit-client`'s layers quarter and their bit rates about third.
    pub(crate) fn reduced(self, steps: u32) -> Self {
        let packets = (self.packets_per_frame / 3usize.pow(steps)).max(1);
        Self { packets_per_frame: packets, ..self }
    }

    /// Of payload.
    pub(crate) fn bits_per_second(self) -> u32 {
        let bits = self.packets_per_frame * self.payload_bytes * 8;
        (bits as f64 / self.interval.as_secs_f64()) as u32
    }

    /// Within what a packet can hold.
    pub(crate) fn bounded(self) -> Self {
        Self {
            packets_per_frame: self.packets_per_frame.clamp(1, 1000),
            payload_bytes: self.payload_bytes.clamp(MIN_PAYLOAD_BYTES, MAX_PAYLOAD_BYTES),
            ..self
        }
    }
}

/// Which of the header extensions whose value changes with every packet a stream carries.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Negotiated {
    /// mid of its section, said until the server has shown that it knows the stream.
    pub(crate) mid: u8,
    pub(crate) rid: Option<&'static str>,
    pub(crate) transport_sequence: bool,
}

/// One stream as sent.
pub(crate) struct Source {
    pub(crate) ssrc: Ssrc,
    pub(crate) repair: Option<Ssrc>,
    pub(crate) kind: StreamKind,
    pub(crate) shape: Shape,
    format: Format,
    negotiated: Negotiated,
    /// Said until the server reports on the stream.
    is_known: bool,
    wants_keyframe: bool,
    begin: Begin,
    sent: Sent,
    /// 0 loudest, 127 silence (RFC 6464).
    level: u8,
    history: Vec<Kept>,
    /// The first packet of the last frame, as sent.
    last_sent: Vec<u8>,
}

/// Where the stream's numbers begin.
#[derive(Clone, Copy)]
struct Begin {
    seq: u16,
    timestamp: u32,
}

/// What was sent so far.
#[derive(Clone, Copy, Default)]
struct Sent {
    packets: u64,
    frames: u64,
    /// Payload; wraps, as reports of it do.
    octets: u32,
    repairs: u64,
}

#[derive(Clone, Default)]
struct Kept {
    seq: u64,
    timestamp: u32,
    marker: bool,
    payload: Vec<u8>,
}

/// What is the same for all packets of one call.
pub(crate) struct Sending<'a> {
    pub(crate) run: RunId,
    pub(crate) publisher: ParticipantId,
    pub(crate) sealer: &'a Sealer,
    /// Number of the next packet of this transport (transport-wide congestion control).
    pub(crate) transport_sequence: &'a mut u16,
}

/// Sealed datagrams of one length, one after another.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    /// Length of each.
    pub(crate) segment: usize,
    pub(crate) packets: usize,
}

impl Batch {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.segment = 0;
        self.packets = 0;
    }
}

impl Source {
    pub(crate) fn new(
        ssrc: Ssrc,
        repair: Option<Ssrc>,
        kind: StreamKind,
        format: Format,
        shape: Shape,
        negotiated: Negotiated,
    ) -> Self {
        Self {
            ssrc,
            repair,
            kind,
            shape: shape.bounded(),
            format,
            negotiated,
            is_known: false,
            wants_keyframe: true,
            begin: Begin {
                // Browsers begin in the lower half (RFC 3711 §3.3.1 asks for it: a wrap right at the
                // start that is lost cannot be noticed).
                seq: fastrand::u16(..0x8000),
                timestamp: fastrand::u32(..),
            },
            sent: Sent::default(),
            level: 127,
            history: Vec::new(),
            last_sent: Vec::new(),
        }
    }

    pub(crate) fn set_level(&mut self, level: u8) {
        self.level = level.min(127);
    }

    /// Whether the server wants packets numbered across streams.
    pub(crate) fn set_transport_sequence(&mut self, wanted: bool) {
        self.negotiated.transport_sequence = wanted;
    }

    /// The server asked for a decodable start.
    pub(crate) fn want_keyframe(&mut self) {
        self.wants_keyframe = true;
    }

    /// The server reports on it, so it need not be told any more which stream this is.
    pub(crate) fn handle_known(&mut self) {
        self.is_known = true;
    }

    pub(crate) fn packets(&self) -> u64 {
        self.sent.packets
    }

    pub(crate) fn octets(&self) -> u32 {
        self.sent.octets
    }

    /// The timestamp of the last frame.
    pub(crate) fn timestamp(&self) -> u32 {
        let ticks = self.shape.interval.as_secs_f64() * f64::from(self.format.clock_rate());
        let frame = self.sent.frames.saturating_sub(1);
        // Cut to 32 bits, as timestamps wrap.
        self.begin.timestamp.wrapping_add((frame as f64 * ticks).round() as u64 as u32)
    }

    /// Seals the next frame into `batch`. What it does not seal is not sent: the sealer has refused. Returns
    /// the moment that the frame's marks tell.
    pub(crate) fn write_frame(&mut self, sending: &mut Sending<'_>, batch: &mut Batch) -> Stamp {
        let is_keyframe = std::mem::take(&mut self.wants_keyframe);
        let count = self.shape.packets_per_frame;
        let frame = self.sent.frames;
        self.sent.frames += 1;
        let timestamp = self.timestamp();
        let sent = Stamp::now();
        for index in 0..count {
            let (is_first, is_last) = (index == 0, index + 1 == count);
            let position = Position { is_keyframe, is_first, is_last, frame };
            let mark = Mark {
                run: sending.run,
                publisher: sending.publisher,
                stream: self.kind,
                seq: self.sent.packets,
                sent,
            };
            // Marker: end of a frame (RFC 7741 §4.1), or the start of talking (RFC 3551 §4.1).
            let marker = if self.kind == StreamKind::Audio { frame == 0 } else { is_last };
            let kept = self.keep(timestamp, marker);
            let mut bytes = std::mem::take(&mut self.history[kept].payload);
            payload::write(self.format, position, &mut bytes);
            mark.write(&mut bytes);
            let seq = u64::from(self.begin.seq) + self.sent.packets;
            let stream = Packet { ssrc: self.ssrc, seq, timestamp, marker, is_repair: false };
            self.seal(stream, &bytes, sending, batch);
            self.history[kept].payload = bytes;
            let octets = self.shape.payload_bytes as u32;
            self.sent.octets = self.sent.octets.wrapping_add(octets);
            self.sent.packets += 1;
        }
        self.last_sent.clear();
        self.last_sent.extend_from_slice(batch.bytes.get(..batch.segment).unwrap_or_default());
        sent
    }

    /// The first packet of the last frame, as sent; empty before the first.
    pub(crate) fn last_sent(&self) -> &[u8] {
        &self.last_sent
    }

    /// Seals once more what was asked for (RFC 4588), if it is still kept.
    pub(crate) fn write_repair(
        &mut self,
        seq: u16,
        sending: &mut Sending<'_>,
        batch: &mut Batch,
    ) -> bool {
        let Some(ssrc) = self.repair else { return false };
        let Some(kept) = self.history.iter().find(|kept| kept.seq as u16 == seq).cloned() else {
            return false;
        };
        let mut payload = seq.to_be_bytes().to_vec();
        payload.extend(&kept.payload);
        let (timestamp, marker) = (kept.timestamp, kept.marker);
        let packet = Packet { ssrc, seq: self.sent.repairs, timestamp, marker, is_repair: true };
        self.sent.repairs += 1;
        self.seal(packet, &payload, sending, batch);
        true
    }

    /// Finds a place in the history for the next packet; returns its index.
    fn keep(&mut self, timestamp: u32, marker: bool) -> usize {
        let index = (self.sent.packets % HISTORY as u64) as usize;
        if self.history.len() <= index {
            self.history
                .push(Kept { payload: vec![0; self.shape.payload_bytes], ..Kept::default() });
        }
        let kept = &mut self.history[index];
        kept.seq = u64::from(self.begin.seq) + self.sent.packets;
        kept.timestamp = timestamp;
        kept.marker = marker;
        index
    }

    /// Appends one sealed packet. All of a frame have the same extensions, so the same length.
    fn seal(&self, packet: Packet, payload: &[u8], sending: &mut Sending<'_>, batch: &mut Batch) {
        let start = batch.bytes.len();
        batch.bytes.resize(start + payload.len() + OVERHEAD_BYTES, 0);
        let out = &mut batch.bytes[start..];
        let number = sending.transport_sequence.to_be_bytes();
        let send_time = abs_send_time(Stamp::now());
        // Somebody talking, at this level (RFC 6464 §3).
        let level = [0x80 | self.level];
        let mid = [b'0' + self.negotiated.mid];
        let elements = self.elements(packet.is_repair, &number, &send_time, &level, &mid);
        let fields = HeaderFields {
            marker: packet.marker,
            payload_type: self.payload_type(packet.is_repair),
            sequence: packet.seq as u16,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
        };
        let present = elements.iter().flatten().copied();
        let sealed = write_header(out, &fields, present).and_then(|header| {
            let end = header + payload.len();
            out.get_mut(header..end)?.copy_from_slice(payload);
            sending.sealer.seal_rtp(out, header, end, packet.seq).ok()
        });
        let length = sealed.unwrap_or(0);
        batch.bytes.truncate(start + length);
        if length > 0 {
            *sending.transport_sequence = sending.transport_sequence.wrapping_add(1);
            batch.segment = batch.segment.max(length);
            batch.packets += 1;
        }
    }

    fn payload_type(&self, is_repair: bool) -> u8 {
        match self.format {
            Format::Opus => crate::sdp::OPUS,
            Format::Video(codec) | Format::Repair(codec) => {
                codec.payload_type() + u8::from(is_repair)
            }
        }
    }

    fn elements<'e>(
        &self,
        is_repair: bool,
        number: &'e [u8; 2],
        send_time: &'e [u8; 3],
        level: &'e [u8; 1],
        mid: &'e [u8; 1],
    ) -> [Option<(u8, &'e [u8])>; 5] {
        let is_audio = self.kind == StreamKind::Audio;
        let rid_extension = if is_repair { extension::REPAIRED_RID } else { extension::RID };
        let rid = self.negotiated.rid.filter(|_| !self.is_known);
        [
            is_audio.then_some((extension::AUDIO_LEVEL, level.as_slice())),
            Some((extension::ABS_SEND_TIME, send_time.as_slice())),
            self.negotiated
                .transport_sequence
                .then_some((extension::TRANSPORT_SEQUENCE, number.as_slice())),
            (!self.is_known).then_some((extension::MID, mid.as_slice())),
            rid.map(|rid| (rid_extension, rid.as_bytes())),
        ]
    }
}

#[derive(Clone, Copy)]
struct Packet {
    ssrc: Ssrc,
    seq: u64,
    timestamp: u32,
    marker: bool,
    is_repair: bool,
}

/// Seconds as 6.18 bit fixed point.
fn abs_send_time(at: Stamp) -> [u8; 3] {
    let fixed = (u128::from(at.as_nanos()) << 18) / 1_000_000_000;
    let [_, high, middle, low] = (fixed as u32).to_be_bytes();
    [high, middle, low]
}
