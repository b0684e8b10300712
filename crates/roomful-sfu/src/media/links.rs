//! Media over links: tracks that other parts of the room want go out, each once, and tracks from there come in.
//!
//! A track from elsewhere is a [`Track`](super::track::Track) like any other: it has a ring and feeds, and differs only in where its packets
//! come from and where keyframes are asked for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use roomful_rtp::rtcp::SenderInfo;
use roomful_rtp::sender_report::ClockMapping;

use super::ring::{Arrived, Carried};
use super::{MediaPlane, SessionKey, TrackKey};
use crate::demand::Level;
use crate::egress::Layer;
use crate::link::{LinkId, LinkTrack};
use crate::transport::Format;

/// What the media planes at both ends of a link tell each other between two turns of a worker. Lossy: losing one is
/// losing its packets, and everything else in it is said again.
#[derive(Debug, Clone, Default)]
pub struct LinkMedia {
    packets: Vec<LinkPacket>,
    /// The payloads of all packets, one after the other.
    payloads: Vec<u8>,
    /// The newest of each layer of each track.
    clocks: Vec<(LinkTrack, Layer, SenderInfo)>,
    /// Keyframes that are wished for, of tracks the other end sends: each layer once.
    keyframes: Vec<(LinkTrack, Layer)>,
}

/// One packet, decrypted, without its payload.
#[derive(Debug, Clone, Copy)]
struct LinkPacket {
    track: LinkTrack,
    layer: Layer,
    seq: u64,
    timestamp: u64,
    marker: bool,
    /// How often its layer began anew before it.
    restarts: u32,
    format: Format,
    extensions: Carried,
    length: u16,
    /// Bytes of its dependency descriptor, which lies behind the payload.
    descriptor: u8,
}

/// Payload that may wait for one link between two turns of a worker: more than a socket brings in the millisecond for
/// which it is read. Larger passes a flood on to another worker, smaller loses the keyframes of a crowd.
const MAX_WAITING: usize = 512 * 1024;

/// Packets that may wait so, however small. At the mean of a call, some hundred bytes each, they fill the above; larger lets a
/// flood of empty packets take memory, smaller loses sound of large rooms.
const MAX_PACKETS_WAITING: usize = 4 * 1024;

/// A layer that brought nothing for so long does not count as sent. Longer leaves subscribers elsewhere without a
/// picture when their layer ends, shorter sends more than is wanted whenever an encoder pauses.
const SILENT_AFTER: Duration = Duration::from_secs(1);

/// What goes over the links of one room, and which tracks.
#[derive(Debug, Default)]
pub(super) struct Links {
    waiting: BTreeMap<LinkId, LinkMedia>,
    /// Tracks from elsewhere, by the number this end gave them.
    received: BTreeMap<(LinkId, LinkTrack), TrackKey>,
    /// Tracks for elsewhere, by the number the other end gave them.
    sent: BTreeMap<(LinkId, LinkTrack), TrackKey>,
    /// Packets that found no room.
    pub(super) dropped: u64,
}

/// One track's side of it.
#[derive(Debug, Default)]
pub(super) struct LinkEnds {
    /// Where it comes from, if from elsewhere.
    source: Option<(LinkId, LinkTrack)>,
    /// Where it goes.
    copies: Vec<CopyTo>,
    /// How its timestamps relate to its publisher's clock, if it comes from elsewhere.
    clocks: [Option<ClockMapping>; Layer::COUNT],
    /// When each layer last brought something; kept up only while it goes anywhere.
    seen: [Option<Instant>; Layer::COUNT],
    /// How often each layer began anew, under another SSRC. A number and not a mark on the first packet, which may be lost
    /// on the way or wanted by nobody.
    restarts: [u32; Layer::COUNT],
    /// The same as the packets from elsewhere said.
    heard_restarts: [Option<u32>; Layer::COUNT],
}

/// A track on its way over one link.
#[derive(Debug, Clone, Copy)]
struct CopyTo {
    link: LinkId,
    number: LinkTrack,
    /// The best layer that is wanted there.
    best: Layer,
}

impl LinkMedia {
    /// Packets it carries.
    pub fn packets(&self) -> usize {
        self.packets.len()
    }

    fn push(&mut self, to: &CopyTo, packet: &Arrived<'_>, restarts: u32) -> bool {
        let (Ok(length), Ok(descriptor)) =
            (u16::try_from(packet.payload.len()), u8::try_from(packet.descriptor.len()))
        else {
            return false;
        };
        let is_full = self.payloads.len() + packet.payload.len() > MAX_WAITING
            || self.packets.len() >= MAX_PACKETS_WAITING;
        if is_full {
            return false;
        }
        self.payloads.extend_from_slice(packet.payload);
        self.payloads.extend_from_slice(packet.descriptor);
        self.packets.push(LinkPacket {
            track: to.number,
            layer: packet.layer,
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            restarts,
            format: packet.format,
            extensions: packet.extensions,
            length,
            descriptor,
        });
        true
    }

    fn tell_clock(&mut self, track: LinkTrack, layer: Layer, info: SenderInfo) {
        let known = self.clocks.iter_mut().find(|clock| (clock.0, clock.1) == (track, layer));
        match known {
            Some(clock) => clock.2 = info,
            None => self.clocks.push((track, layer, info)),
        }
    }

    fn wish(&mut self, track: LinkTrack, layer: Layer) {
        if !self.keyframes.contains(&(track, layer)) {
            self.keyframes.push((track, layer));
        }
    }
}

impl LinkEnds {
    /// How the timestamps of one layer relate to the publisher's clock, where that was told by a link.
    pub(super) fn clock(&self, layer: Layer) -> Option<ClockMapping> {
        self.clocks[layer.index()]
    }

    pub(super) fn is_from_elsewhere(&self) -> bool {
        self.source.is_some()
    }

    /// Copies a packet for each part that wants it.
    pub(super) fn copy(&mut self, packet: &Arrived<'_>, is_restart: bool, links: &mut Links) {
        let layer = packet.layer.index();
        if is_restart {
            self.restarts[layer] = self.restarts[layer].wrapping_add(1);
        }
        if self.copies.is_empty() {
            return;
        }
        self.seen[layer] = Some(packet.arrival);
        for to in &self.copies {
            let is_wanted = packet.layer <= to.best || !self.flows_within(to.best, packet.arrival);
            if !is_wanted {
                continue;
            }
            let waiting = links.waiting.entry(to.link).or_default();
            if !waiting.push(to, packet, self.restarts[layer]) {
                links.dropped += 1;
            }
        }
    }

    /// Whether a packet from elsewhere is of another stream than the last of its layer.
    fn begins_anew(&mut self, packet: &LinkPacket) -> bool {
        let heard = self.heard_restarts[packet.layer.index()].replace(packet.restarts);
        heard.is_some_and(|heard| heard != packet.restarts)
    }

    /// Whether any layer up to `best` brings something.
    fn flows_within(&self, best: Layer, now: Instant) -> bool {
        let flows = |at: Instant| now.saturating_duration_since(at) < SILENT_AFTER;
        Layer::ALL
            .into_iter()
            .filter(|layer| *layer <= best)
            .any(|layer| self.seen[layer.index()].is_some_and(flows))
    }
}

impl Links {
    /// Wishes for a keyframe of a track from elsewhere; `false`: it is not from elsewhere.
    pub(super) fn request_keyframe(&mut self, ends: &LinkEnds, layer: Layer) -> bool {
        let Some((link, number)) = ends.source else { return false };
        self.waiting.entry(link).or_default().wish(number, layer);
        true
    }

    /// The track is no more.
    pub(super) fn forget(&mut self, key: TrackKey) {
        self.received.retain(|_, track| *track != key);
        self.sent.retain(|_, track| *track != key);
    }

    fn tell_clock(&mut self, ends: &LinkEnds, layer: Layer, info: SenderInfo) {
        for to in &ends.copies {
            self.waiting.entry(to.link).or_default().tell_clock(to.number, layer, info);
        }
    }
}

impl MediaPlane {
    /// A track comes over a link under this number from now on; `None`: nothing of it comes any more.
    pub(crate) fn set_source(&mut self, key: TrackKey, source: Option<(LinkId, LinkTrack)>) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        self.links.received.retain(|_, one| *one != key);
        track.links.source = source;
        if let Some(source) = source {
            self.links.received.insert(source, key);
        }
    }

    /// A track goes over a link under this number from now on, up to the layer that serves `level`.
    pub(crate) fn set_copy(
        &mut self,
        key: TrackKey,
        link: LinkId,
        wanted: Option<(LinkTrack, Level)>,
    ) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        self.links.sent.retain(|(other, _), one| *other != link || *one != key);
        track.links.copies.retain(|copy| copy.link != link);
        let Some((number, level)) = wanted else { return };
        // Keyframes may be wished for before packets flow.
        self.links.sent.insert((link, number), key);
        if let Some(best) = best_layer(level) {
            track.links.copies.push(CopyTo { link, number, best });
        }
    }

    /// A link is no more.
    pub(crate) fn remove_link(&mut self, link: LinkId) {
        self.links.waiting.remove(&link);
        self.links.received.retain(|(other, _), _| *other != link);
        self.links.sent.retain(|(other, _), _| *other != link);
        for track in self.tracks.values_mut() {
            track.links.copies.retain(|copy| copy.link != link);
        }
    }

    /// What waits for a link. Once a turn.
    pub(crate) fn poll_link(&mut self) -> Option<(LinkId, LinkMedia)> {
        self.links.waiting.pop_first()
    }

    /// Takes in what came over a link. Tracks it does not know ended here while it was on its way.
    pub(crate) fn handle_link(&mut self, link: LinkId, media: &LinkMedia, now: Instant) {
        let mut at = 0;
        for packet in &media.packets {
            let end = at + usize::from(packet.length) + usize::from(packet.descriptor);
            let Some(payload) = media.payloads.get(at..end) else { return };
            at = end;
            if let Some(key) = self.links.received.get(&(link, packet.track)).copied() {
                self.handle_packet_from_link(key, packet, payload, now);
            }
        }
        for (number, layer, info) in &media.clocks {
            let Some(key) = self.links.received.get(&(link, *number)) else { continue };
            let Some(track) = self.tracks.get_mut(*key) else { continue };
            track.links.clocks[layer.index()] = Some(ClockMapping::new(info, now));
            self.links.tell_clock(&track.links, *layer, *info);
        }
        for (number, layer) in &media.keyframes {
            let Some(key) = self.links.sent.get(&(link, *number)).copied() else { continue };
            let Some(track) = self.tracks.get_mut(key) else { continue };
            track.throttles[layer.index()].request(now);
            self.request_keyframes(key, now);
        }
    }

    /// A sender report arrived: those who get the track elsewhere need it, too.
    pub(super) fn pass_clock(
        &mut self,
        session: SessionKey,
        place: (crate::transport::Section, Layer),
        info: SenderInfo,
    ) {
        let Some(session) = self.sessions.get(session) else { return };
        let Some(key) = session.tracks.get(&place.0) else { return };
        if let Some(track) = self.tracks.get(*key) {
            self.links.tell_clock(&track.links, place.1, info);
        }
    }

    fn handle_packet_from_link(
        &mut self,
        key: TrackKey,
        packet: &LinkPacket,
        payload: &[u8],
        now: Instant,
    ) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        if track.muted {
            return;
        }
        let length = payload.len().min(usize::from(packet.length));
        let (payload, descriptor) = payload.split_at(length);
        let is_restart = track.links.begins_anew(packet);
        let arrived = Arrived {
            layer: packet.layer,
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            arrival: now,
            format: packet.format,
            extensions: packet.extensions,
            payload,
            descriptor,
        };
        self.take_in(key, &arrived, is_restart);
    }
}

/// The best layer a part needs where somebody in it wants so much; `None` for nothing.
fn best_layer(level: Level) -> Option<Layer> {
    match level {
        Level::Nothing => None,
        Level::Low => Some(Layer::LOW),
        Level::Medium => Some(Layer::MID),
        Level::High => Some(Layer::HIGH),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::start_of_time;

    const TRACK: LinkTrack = LinkTrack(3);

    fn info(packets: u32) -> SenderInfo {
        SenderInfo { ntp: roomful_rtp::units::NtpTime(0), rtp_timestamp: 0, packets, octets: 0 }
    }

    #[test]
    fn reports_and_wishes_between_two_turns_are_one_for_each_layer() {
        let mut media = LinkMedia::default();
        for packets in 0..1_000 {
            media.tell_clock(TRACK, Layer::LOW, info(packets));
            media.tell_clock(TRACK, Layer::HIGH, info(packets));
            media.wish(TRACK, Layer::LOW);
        }
        assert_eq!(
            media.clocks,
            [(TRACK, Layer::LOW, info(999)), (TRACK, Layer::HIGH, info(999)),]
        );
        assert_eq!(media.keyframes, [(TRACK, Layer::LOW)]);
    }

    #[test]
    fn a_flood_of_packets_without_content_is_bounded_too() {
        let mut media = LinkMedia::default();
        let empty = Arrived {
            layer: Layer::LOW,
            seq: 0,
            timestamp: 0,
            marker: false,
            arrival: start_of_time(),
            format: Format::VP8,
            extensions: Carried::default(),
            payload: &[],
            descriptor: &[],
        };
        let to = CopyTo { link: LinkId(1), number: TRACK, best: Layer::HIGH };
        let taken = (0..2 * MAX_PACKETS_WAITING).filter(|_| media.push(&to, &empty, 0)).count();
        assert_eq!((taken, media.packets()), (MAX_PACKETS_WAITING, MAX_PACKETS_WAITING));
    }
}
