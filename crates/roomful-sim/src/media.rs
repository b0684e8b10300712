//! What virtual publishers send: real-shaped RTP payloads whose content says who sent them, so that a
//! receiver can check *what* it got and not only that it got something.

mod layered;

use std::time::Duration;

pub use layered::LayeredEncoder;

/// What a packet's payload says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Sid of the publishing participant.
    pub publisher: String,
    /// Sid of the publication.
    pub track: String,
    /// Rank of the encoding, or of the layer inside the only one, lowest first.
    pub layer: u8,
    /// Counts up by one with each frame of the encoding.
    pub frame: u64,
    /// Place of the packet in its frame.
    pub index: u16,
    /// Packets of the frame.
    pub of: u16,
    /// The frame can be decoded without others.
    pub keyframe: bool,
}

/// One encoding of a VP8 camera (RFC 7741), or an H.265 one (RFC 7798), with counters that start anywhere.
#[derive(Debug)]
pub struct VideoEncoder {
    picture: Picture,
    layer: u8,
    seq: u64,
    timestamp: u32,
    picture_id: u16,
    tl0_pic_idx: u8,
    key_idx: u8,
    frame: u64,
    keyframe_wanted: bool,
    rng: fastrand::Rng,
}

/// A microphone: frames of 20 ms.
#[derive(Debug)]
pub struct AudioEncoder {
    seq: u64,
    timestamp: u32,
    frame: u64,
    /// The last frame.
    last: Vec<u8>,
}

/// What sound is coded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// RFC 7587.
    Opus,
    /// The same, with the frame before each (RFC 2198). Opus goes by this payload type.
    Redundant(u8),
    /// G.711 (RFC 3551 §4.5.14).
    G711,
}

/// What pictures are coded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Picture {
    /// RFC 7741.
    Vp8,
    /// RFC 7798.
    H265,
}

/// One packet to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedPacket {
    /// Extended sequence number.
    pub seq: u64,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP marker bit.
    pub marker: bool,
    /// RTP payload.
    pub payload: Vec<u8>,
}

/// What a payload turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The mark inside.
    pub mark: Mark,
    /// Picture id, for video.
    pub picture_id: Option<u16>,
    /// It is of layers inside one encoding.
    pub is_layered: bool,
}

/// Ticks of a frame of 20 ms at 48 kHz, and at 8 kHz.
const OPUS_FRAME_TICKS: u32 = 960;
const G711_FRAME_TICKS: u32 = 160;

/// A block header of redundant audio says that another follows (RFC 2198 §3).
const FOLLOWS: u8 = 0x80;

/// Clock rate of every video format (RFC 7741 §4.1).
const VIDEO_CLOCK: u128 = 90_000;

const MAGIC: [u8; 4] = *b"mark";
const DESCRIPTOR: usize = 6;

/// Headers of H.265 units (RFC 7798 §1.1.4): video parameters, and a slice that needs others.
const H265_PARAMETERS: [u8; 2] = [32 << 1, 1];
const H265_SLICE: [u8; 2] = [1 << 1, 1];

impl VideoEncoder {
    /// An encoder of the layer with this rank, with unrelated counters of its own.
    pub fn new(picture: Picture, layer: u8, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self {
            picture,
            layer,
            // Below 2^15: the other end takes the rollover counter to be 0 (RFC 3711 §3.3.1).
            seq: rng.u64(1..1 << 15),
            timestamp: rng.u32(..),
            picture_id: rng.u16(..) & 0x7fff,
            tl0_pic_idx: rng.u8(..),
            key_idx: rng.u8(..) & 0x1f,
            frame: 0,
            keyframe_wanted: true,
            rng,
        }
    }

    /// The next frame will be a keyframe.
    pub fn want_keyframe(&mut self) {
        self.keyframe_wanted = true;
    }

    /// The frames encoded so far.
    pub fn frames(&self) -> u64 {
        self.frame
    }

    /// The packets of the next frame, `interval` after the last one.
    pub fn encode(
        &mut self,
        publisher: &str,
        track: &str,
        interval: Duration,
    ) -> Vec<EncodedPacket> {
        let keyframe = std::mem::take(&mut self.keyframe_wanted);
        self.frame += 1;
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        self.key_idx = (self.key_idx + u8::from(keyframe)) & 0x1f;
        let ticks = interval.as_nanos() * VIDEO_CLOCK / 1_000_000_000;
        self.timestamp = self.timestamp.wrapping_add(ticks as u32);
        let of = self.rng.u16(1..=1 + u16::from(self.layer)) + if keyframe { 2 } else { 0 };
        (0..of)
            .map(|index| {
                self.seq += 1;
                let mark = Mark {
                    publisher: publisher.to_owned(),
                    track: track.to_owned(),
                    layer: self.layer,
                    frame: self.frame,
                    index,
                    of,
                    keyframe,
                };
                EncodedPacket {
                    seq: self.seq,
                    timestamp: self.timestamp,
                    marker: index + 1 == of,
                    payload: self.payload(&mark),
                }
            })
            .collect()
    }

    fn payload(&self, mark: &Mark) -> Vec<u8> {
        let first = mark.index == 0;
        if self.picture == Picture::H265 {
            let begins = first && mark.keyframe;
            let mut payload = if begins { H265_PARAMETERS } else { H265_SLICE }.to_vec();
            mark.write(&mut payload);
            return payload;
        }
        let [high, low] = self.picture_id.to_be_bytes();
        let mut payload = vec![
            0x80 | if first { 0x10 } else { 0 },
            0xf0,
            0x80 | high,
            low,
            self.tl0_pic_idx,
            self.key_idx,
        ];
        match (first, mark.keyframe) {
            (true, true) => payload.extend([0, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01]),
            (true, false) => payload.extend([0x01, 0, 0]),
            (false, _) => {}
        }
        mark.write(&mut payload);
        payload
    }
}

impl AudioEncoder {
    /// A microphone with counters that start anywhere.
    pub fn new(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        Self { seq: rng.u64(1..1 << 15), timestamp: rng.u32(..), frame: 0, last: Vec::new() }
    }

    /// The next packet.
    pub fn encode(&mut self, sound: Sound, publisher: &str, track: &str) -> EncodedPacket {
        self.frame += 1;
        self.seq += 1;
        let ticks = if sound == Sound::G711 { G711_FRAME_TICKS } else { OPUS_FRAME_TICKS };
        self.timestamp = self.timestamp.wrapping_add(ticks);
        let mut payload = vec![0xfc];
        Mark {
            publisher: publisher.to_owned(),
            track: track.to_owned(),
            layer: 0,
            frame: self.frame,
            index: 0,
            of: 1,
            keyframe: true,
        }
        .write(&mut payload);
        let last = std::mem::replace(&mut self.last, payload.clone());
        if let Sound::Redundant(inside) = sound {
            payload = with_redundancy(inside, &last, payload);
        }
        EncodedPacket { seq: self.seq, timestamp: self.timestamp, marker: false, payload }
    }
}

/// A frame behind the one before it, if there is one (RFC 2198 §3).
fn with_redundancy(inside: u8, last: &[u8], frame: Vec<u8>) -> Vec<u8> {
    let mut payload = Vec::new();
    if !last.is_empty() {
        let block = OPUS_FRAME_TICKS << 10 | last.len() as u32;
        payload.push(FOLLOWS | inside);
        payload.extend(&block.to_be_bytes()[1..]);
    }
    payload.push(inside);
    payload.extend(last);
    payload.extend(frame);
    payload
}

/// The last frame of redundant audio, and the payload type of all its blocks; `None` if they differ, or it is none.
pub fn without_redundancy(payload: &[u8]) -> Option<(u8, &[u8])> {
    let (mut at, mut before) = (0, 0);
    while payload.get(at)? & FOLLOWS != 0 {
        before +=
            usize::from(u16::from_be_bytes([*payload.get(at + 2)?, *payload.get(at + 3)?]) & 0x3ff);
        at += 4;
    }
    let inside = *payload.get(at)?;
    let same = payload[..at].chunks(4).all(|header| header[0] == FOLLOWS | inside);
    payload.get(at + 1 + before..).filter(|_| same).map(|frame| (inside, frame))
}

impl Content {
    /// Reads a payload of a stream of pictures (`video`) or sound; `None` if no virtual publisher made it.
    pub fn parse(payload: &[u8], video: bool) -> Option<Self> {
        let beyond = |header: &[u8]| payload.strip_prefix(header);
        let unit = beyond(&H265_PARAMETERS).or_else(|| beyond(&H265_SLICE)).filter(|_| video);
        if let Some(mark) = unit.and_then(Mark::read) {
            return Some(Self { mark, picture_id: None, is_layered: false });
        }
        if !video {
            let mark = Mark::read(payload.get(1..)?)?;
            return Some(Self { mark, picture_id: None, is_layered: false });
        }
        Self::parse_vp8(payload).or_else(|| {
            let (rest, picture_id) = layered::behind_descriptor(payload)?;
            Some(Self { mark: Mark::read(rest)?, picture_id: Some(picture_id), is_layered: true })
        })
    }

    fn parse_vp8(payload: &[u8]) -> Option<Self> {
        let [required, 0xf0, high, low, ..] = *payload else { return None };
        let frame = payload.get(DESCRIPTOR..)?;
        let tag = match (required & 0x10 != 0, frame.first()? & 0x01 == 0) {
            (true, true) => 10,
            (true, false) => 3,
            (false, _) => 0,
        };
        let mark = Mark::read(frame.get(tag..)?)?;
        let picture_id = Some(u16::from_be_bytes([high & 0x7f, low]));
        Some(Self { mark, picture_id, is_layered: false })
    }
}

impl Mark {
    fn write(&self, payload: &mut Vec<u8>) {
        payload.extend(MAGIC);
        for text in [&self.publisher, &self.track] {
            payload.push(text.len() as u8);
            payload.extend(text.as_bytes());
        }
        payload.push(self.layer);
        payload.push(u8::from(self.keyframe));
        payload.extend(self.frame.to_be_bytes());
        payload.extend(self.index.to_be_bytes());
        payload.extend(self.of.to_be_bytes());
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut bytes = bytes.strip_prefix(&MAGIC)?;
        let mut take = |count: usize| {
            let (taken, rest) = bytes.split_at_checked(count)?;
            bytes = rest;
            Some(taken)
        };
        let length = usize::from(*take(1)?.first()?);
        let publisher = String::from_utf8(take(length)?.to_vec()).ok()?;
        let length = usize::from(*take(1)?.first()?);
        let track = String::from_utf8(take(length)?.to_vec()).ok()?;
        Some(Self {
            publisher,
            track,
            layer: *take(1)?.first()?,
            keyframe: *take(1)?.first()? == 1,
            frame: u64::from_be_bytes(take(8)?.try_into().ok()?),
            index: u16::from_be_bytes(take(2)?.try_into().ok()?),
            of: u16::from_be_bytes(take(2)?.try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_into_a_payload_is_read_from_it() {
        let mut video = VideoEncoder::new(Picture::Vp8, 2, 1);
        for expected in [true, false] {
            let packets = video.encode("PA_a", "TR_b", Duration::from_millis(33));
            for (index, packet) in packets.iter().enumerate() {
                let content = Content::parse(&packet.payload, true).unwrap();
                assert_eq!((content.mark.layer, content.mark.keyframe), (2, expected));
                assert_eq!(usize::from(content.mark.index), index);
                assert_eq!(packet.marker, index + 1 == packets.len());
            }
        }
        let picture = LayeredEncoder::new(1).encode("PA_a", "TR_b", Duration::from_millis(33));
        for packet in &picture {
            let content = Content::parse(&packet.payload, true).unwrap();
            assert!(content.is_layered && content.mark.keyframe);
        }
        let sound = AudioEncoder::new(1).encode(Sound::Opus, "PA_a", "TR_c");
        assert_eq!(Content::parse(&sound.payload, false).unwrap().mark.track, "TR_c");
        assert_eq!(Content::parse(&sound.payload[..9], false), None);
        let mut h265 = VideoEncoder::new(Picture::H265, 0, 1);
        let packets = h265.encode("PA_a", "TR_b", Duration::from_millis(33));
        let content = Content::parse(&packets[0].payload, true).unwrap();
        assert_eq!((content.mark.keyframe, content.picture_id), (true, None));
    }

    #[test]
    fn redundant_audio_ends_in_its_own_frame() {
        let mut encoder = AudioEncoder::new(1);
        for expected in 1..4 {
            let packet = encoder.encode(Sound::Redundant(111), "PA_a", "TR_c");
            let (inside, frame) = without_redundancy(&packet.payload).unwrap();
            assert_eq!(inside, 111);
            assert_eq!(Content::parse(frame, false).unwrap().mark.frame, expected);
            let is_whole = without_redundancy(&packet.payload[..3]).is_some();
            assert_eq!(is_whole, expected == 1, "the first has no redundancy");
        }
    }
}
