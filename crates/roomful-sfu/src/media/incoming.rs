//! The streams a participant sends: which SSRC is which encoding, what of it is missing, how it arrives.

use std::collections::BTreeMap;
use std::time::Instant;

use roomful_rtp::Ssrc;
use roomful_rtp::nack::NackGenerator;
use roomful_rtp::reception::Reception;
use roomful_rtp::rtcp::{ReportBlock, SenderInfo};
use roomful_rtp::rtp::{RtpHeader, TimestampUnwrapper};
use roomful_rtp::sender_report::ClockMapping;

use super::quality::Passage;
use crate::egress::{Layer, MediaKind};
use crate::transport::{Format, Negotiated, Section};

/// Streams one participant can make the server remember: its publications times three layers, twice for their
/// retransmissions, and as many again for streams that were replaced. Smaller refuses streams of a busy client, larger lets one client
/// take more memory.
const MAX_STREAMS: usize = 256;

/// The streams of one participant.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    streams: BTreeMap<u32, Stream>,
    /// SSRC of retransmissions → SSRC of what they repair.
    repairs: BTreeMap<u32, u32>,
}

/// One encoding of one publication, as it arrives.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) section: Section,
    pub(super) layer: Layer,
    timestamps: TimestampUnwrapper,
    pub(super) highest: u64,
    pub(super) reception: Option<Reception>,
    /// Only for streams whose losses are repaired.
    pub(super) nack: Option<NackGenerator>,
    /// How its timestamps relate to its publisher's clock, by the newest sender report.
    clock: Option<ClockMapping>,
    /// When its newest packet came.
    arrived: Option<Instant>,
    judged: Judged,
}

/// What was received and lost of a stream when its passage was judged last, and repaired since.
#[derive(Debug, Default)]
struct Judged {
    received: u64,
    lost: i32,
    repaired: u64,
}

/// Which stream a packet belongs to, and where in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) section: Section,
    pub(super) layer: Layer,
    pub(super) seq: u64,
    pub(super) timestamp: u64,
    /// The packet is the first of a stream that replaces another.
    pub(super) is_restart: bool,
}

impl Stream {
    pub(super) fn handle_sender_report(&mut self, info: &SenderInfo, now: Instant) {
        self.clock = Some(ClockMapping::new(info, now));
        if let Some(reception) = &mut self.reception {
            reception.handle_sender_report(info, now);
        }
    }

    /// What became of its packets since the last time.
    pub(super) fn passed(&mut self) -> Passage {
        let Some(reception) = &self.reception else { return Passage::default() };
        let former = std::mem::take(&mut self.judged);
        (self.judged.received, self.judged.lost) = (reception.received(), reception.lost());
        let lost = self.judged.lost.saturating_sub(former.lost);
        let lost = u64::try_from(lost).unwrap_or(0);
        let expected = self.judged.received.saturating_sub(former.received) + lost;
        let lost = i64::try_from(lost.saturating_sub(former.repaired)).unwrap_or(i64::MAX);
        Passage { expected, lost, jitter: reception.jitter() }
    }

    /// Sound is not repaired, pictures are.
    pub(super) fn kind(&self) -> MediaKind {
        if self.nack.is_some() { MediaKind::Video } else { MediaKind::Audio }
    }

    pub(super) fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        self.reception.as_mut()?.report_block(now)
    }
}

impl Incoming {
    /// Takes in what a negotiation named. Streams of sections that no longer send are forgotten.
    pub(super) fn handle_negotiated(
        &mut self,
        negotiated: &Negotiated,
        sends: impl Fn(Section) -> bool,
    ) {
        self.streams.retain(|_, stream| sends(stream.section));
        self.repairs.retain(|_, media| self.streams.contains_key(media));
        for announced in &negotiated.announced {
            if let Some(media) = announced.repairs {
                self.repairs.insert(announced.ssrc, media);
            }
        }
    }

    /// The place of a media packet. `seq` is its extended sequence number.
    pub(super) fn place(
        &mut self,
        header: &RtpHeader,
        seq: u64,
        plain: &[u8],
        format: Format,
        negotiated: &Negotiated,
        now: Instant,
    ) -> Option<Place> {
        let ssrc = header.ssrc.0;
        let mut is_restart = false;
        if !self.streams.contains_key(&ssrc) {
            let (section, layer) = whose(header, plain, negotiated, false)?;
            is_restart = self.ssrc_of(section, layer).is_some();
            self.insert(ssrc, section, layer)?;
        }
        let stream = self.streams.get_mut(&ssrc)?;
        let clock_rate = format.codec.clock_rate();
        let reception =
            stream.reception.get_or_insert_with(|| Reception::new(Ssrc(ssrc), clock_rate));
        reception.handle_packet(seq, header.timestamp, now);
        if !format.codec.is_audio() {
            stream.nack.get_or_insert_default().handle_packet(seq, now);
        }
        stream.highest = stream.highest.max(seq);
        stream.arrived = Some(now);
        let timestamp = stream.timestamps.unwrap(header.timestamp);
        Some(Place { section: stream.section, layer: stream.layer, seq, timestamp, is_restart })
    }

    /// The place of a packet that was sent again, whose first sequence number was `original`.
    pub(super) fn place_repeated(
        &mut self,
        header: &RtpHeader,
        original: u16,
        plain: &[u8],
        negotiated: &Negotiated,
    ) -> Option<Place> {
        let media = match self.repairs.get(&header.ssrc.0) {
            Some(media) => *media,
            None => {
                let (section, layer) = whose(header, plain, negotiated, true)?;
                let found = self
                    .streams
                    .iter()
                    .find(|(_, one)| (one.section, one.layer) == (section, layer));
                let media = *found?.0;
                if self.repairs.len() < MAX_STREAMS {
                    self.repairs.insert(header.ssrc.0, media);
                }
                media
            }
        };
        let stream = self.streams.get_mut(&media)?;
        stream.judged.repaired += 1;
        let seq = nearest(stream.highest, original);
        if let Some(nack) = &mut stream.nack {
            nack.handle_repair(seq);
        }
        let timestamp = stream.timestamps.unwrap(header.timestamp);
        Some(Place {
            section: stream.section,
            layer: stream.layer,
            seq,
            timestamp,
            is_restart: false,
        })
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Stream)> {
        self.streams.iter_mut().map(|(ssrc, stream)| (*ssrc, stream))
    }

    /// When something lost is to be asked for next.
    pub(super) fn nack_timeout(&self) -> Option<Instant> {
        self.streams.values().filter_map(|one| one.nack.as_ref()?.poll_timeout()).min()
    }

    /// Some stream, where feedback has to name one.
    pub(super) fn any_ssrc(&self) -> Option<u32> {
        self.streams.keys().next().copied()
    }

    /// How the timestamps of one encoding relate to its publisher's clock.
    pub(super) fn clock(&self, section: Section, layer: Layer) -> Option<ClockMapping> {
        let ssrc = self.ssrc_of(section, layer)?;
        self.streams.get(&ssrc)?.clock
    }

    pub(super) fn get_mut(&mut self, ssrc: u32) -> Option<&mut Stream> {
        self.streams.get_mut(&ssrc)
    }

    /// The newest stream of one encoding: a client may replace an SSRC.
    pub(super) fn ssrc_of(&self, section: Section, layer: Layer) -> Option<u32> {
        self.streams
            .iter()
            .filter(|(_, one)| (one.section, one.layer) == (section, layer))
            .max_by_key(|(_, one)| one.arrived)
            .map(|(ssrc, _)| *ssrc)
    }

    fn insert(&mut self, ssrc: u32, section: Section, layer: Layer) -> Option<()> {
        if self.streams.len() >= MAX_STREAMS {
            return None;
        }
        let stream = Stream {
            section,
            layer,
            timestamps: TimestampUnwrapper::default(),
            highest: 0,
            reception: None,
            nack: None,
            clock: None,
            arrived: None,
            judged: Judged::default(),
        };
        self.streams.insert(ssrc, stream);
        Some(())
    }
}

/// The section and encoding of a stream heard for the first time: as its offer named the SSRC, or as the packet
/// itself says (RFC 8843 §9.2, RFC 8852).
fn whose(
    header: &RtpHeader,
    plain: &[u8],
    negotiated: &Negotiated,
    repeated: bool,
) -> Option<(Section, Layer)> {
    let ids = &negotiated.extensions;
    let rid_id = if repeated { ids.repaired_rid } else { ids.rid };
    let (mut mid, mut rid) = (None, None);
    for (id, value) in header.extensions(plain) {
        if Some(id) == ids.mid {
            mid = std::str::from_utf8(value).ok();
        } else if Some(id) == rid_id {
            rid = std::str::from_utf8(value).ok();
        }
    }
    let announced = negotiated.announced.iter().find(|one| one.ssrc == header.ssrc.0);
    let index = match (mid, announced) {
        (Some(mid), _) => negotiated.sections.iter().position(|one| one.mid == mid)?,
        (None, Some(announced)) => announced.section.index(),
        (None, None) => return None,
    };
    let section = negotiated.sections.get(index)?;
    let layer = match rid {
        Some(rid) => section.rids.iter().position(|known| known == rid)?,
        None if section.rids.len() > 1 => return None,
        None => 0,
    };
    Some((Section::from_index(index), *Layer::ALL.get(layer)?))
}

/// The extended sequence number nearest to `reference` that ends in `sequence` (RFC 3711 §3.3.1).
fn nearest(reference: u64, sequence: u16) -> u64 {
    let step = sequence.wrapping_sub(reference as u16).cast_signed();
    reference.wrapping_add_signed(i64::from(step))
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_repeated_packet_lies_near_the_newest_whatever_wrapped() {
        assert_eq!(nearest(65_537, 65_535), 65_535);
        assert_eq!(nearest(65_534, 1), 65_537);
        assert_eq!(nearest(10, 8), 8);
    }
}
