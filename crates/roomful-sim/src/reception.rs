//! What one client receives, judged packet by packet: the content must be that of the publication the
//! section is labelled with, and the stream must be one unbroken stream.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::media::{Content, Mark};

/// The publication an answer says a section carries.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label {
    /// Sid of the participant.
    pub publisher: String,
    /// Sid of the publication.
    pub track: String,
    /// What it is played in step with: all of the same stream.
    pub stream: String,
}

/// One RTP packet as it came out of the client's own stack.
#[derive(Debug)]
pub struct ReceivedPacket<'a> {
    /// The RTP stream it belongs to.
    pub ssrc: u32,
    /// Extended sequence number.
    pub seq: u64,
    /// Extended timestamp.
    pub timestamp: u64,
    /// The RTP marker bit.
    pub marker: bool,
    /// Payload.
    pub payload: &'a [u8],
    /// Whether its section carries video.
    pub video: bool,
    /// When it arrived.
    pub at: Instant,
}

/// What arrives in one receiving section: one RTP stream after another, each of one track.
#[derive(Debug, Default)]
pub struct Stream {
    label: Option<Label>,
    /// Every SSRC there was, and the track it carried: Chromium shows nothing of a second one.
    tracks: BTreeMap<u32, String>,
    ssrc: u32,
    seen: BTreeMap<u64, Seen>,
    first: Option<u64>,
    last: Option<u64>,
    count: u64,
}

/// What arrived of one publication.
#[derive(Debug, Clone, Default)]
pub struct TrackLog {
    /// Packets.
    pub packets: u64,
    /// Those of them that came with redundancy.
    pub redundant: u64,
    /// When the first one came.
    pub first_at: Option<Instant>,
    /// When the last one came.
    pub last_at: Option<Instant>,
    /// Layer of the last one.
    pub layer: u8,
    /// When packets said how long to hold pictures back, and what: at least and at most, in milliseconds.
    pub delays: Vec<(Instant, (u32, u32))>,
    /// Frames by layer and number.
    pub frames: BTreeMap<(u8, u64), FrameLog>,
}

/// What arrived of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLog {
    /// Packets that arrived.
    pub have: u16,
    /// Packets it has.
    pub of: u16,
    /// It can be decoded without others.
    pub keyframe: bool,
    /// When the latest of its packets came.
    pub at: Instant,
}

#[derive(Debug)]
struct Seen {
    timestamp: u64,
    marker: bool,
    content: Content,
}

/// Packets kept for comparison with their neighbours: late ones further back are not compared.
const WINDOW: usize = 4_096;

impl Stream {
    /// What the section carries now.
    pub fn label(&self) -> Option<&Label> {
        self.label.as_ref()
    }

    /// An answer says what the section carries from now on.
    ///
    /// # Errors
    /// A browser would not notice: it raises a track only where a section was inactive before.
    pub fn set_label(&mut self, label: Option<Label>) -> Result<(), String> {
        let unnoticed = matches!((&self.label, &label), (Some(was), Some(is)) if was != is);
        let error = format!("{:?} became {label:?} without being inactive between", self.label);
        self.label = label;
        if unnoticed { Err(error) } else { Ok(()) }
    }

    /// Takes a packet; returns its mark, or `None` before the answer that announces it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn handle_packet(&mut self, packet: &ReceivedPacket<'_>) -> Result<Option<Mark>, String> {
        if packet.payload.is_empty() && packet.ssrc == self.ssrc {
            // It fills the place of one that is not for this client.
            self.count_in(packet.seq);
            return Ok(None);
        }
        let content = Content::parse(packet.payload, packet.video)
            .ok_or_else(|| format!("a payload nobody sent: {:02x?}", packet.payload))?;
        let mark = content.mark.clone();
        self.check_ssrc(packet.ssrc, &mark.track)?;
        let seen = Seen { timestamp: packet.timestamp, marker: packet.marker, content };
        self.check_neighbours(packet.seq, &seen)?;
        if self.seen.insert(packet.seq, seen).is_some() {
            return Err(format!("sequence number {} twice", packet.seq));
        }
        self.count_in(packet.seq);
        if self.seen.len() > WINDOW {
            self.seen.pop_first();
        }
        let Some(label) = &self.label else { return Ok(None) };
        if label.track != mark.track || label.publisher != mark.publisher {
            return Err(format!("labelled {label:?}, carries {mark:?}"));
        }
        Ok(Some(mark))
    }

    /// Sequence numbers between the first and the last that never came.
    pub fn missing(&self) -> u64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) => last - first + 1 - self.count,
            _ => 0,
        }
    }

    fn count_in(&mut self, seq: u64) {
        self.count += 1;
        self.first = Some(self.first.map_or(seq, |first| first.min(seq)));
        self.last = Some(self.last.map_or(seq, |last| last.max(seq)));
    }

    /// Counters start over with a new SSRC, which carries one track for ever.
    fn check_ssrc(&mut self, ssrc: u32, track: &str) -> Result<(), String> {
        let known = self.tracks.entry(ssrc).or_insert_with(|| track.to_owned());
        if known != track {
            return Err(format!("SSRC {ssrc} carried {known} and carries {track}"));
        }
        if self.ssrc != ssrc {
            self.ssrc = ssrc;
            self.seen.clear();
            (self.first, self.last, self.count) = (None, None, 0);
        }
        Ok(())
    }

    fn check_neighbours(&self, seq: u64, seen: &Seen) -> Result<(), String> {
        if let Some((before, earlier)) = self.seen.range(..seq).next_back() {
            check_pair(earlier, seen, seq - before == 1)
                .map_err(|error| format!("{error}, between {before} and {seq}"))?;
        }
        if let Some((after, later)) = self.seen.range(seq + 1..).next() {
            check_pair(seen, later, after - seq == 1)
                .map_err(|error| format!("{error}, between {seq} and {after}"))?;
        }
        Ok(())
    }
}

impl TrackLog {
    /// Takes in one packet.
    pub fn handle_mark(&mut self, mark: &Mark, at: Instant) {
        self.packets += 1;
        self.first_at.get_or_insert(at);
        self.last_at = Some(at);
        self.layer = mark.layer;
        let frame = self.frames.entry((mark.layer, mark.frame)).or_insert(FrameLog {
            have: 0,
            of: mark.of,
            keyframe: mark.keyframe,
            at,
        });
        frame.have += 1;
        frame.at = at;
    }

    /// When the first whole frame was there.
    pub fn first_whole_frame_at(&self) -> Option<Instant> {
        self.whole_frames().map(|(_, frame)| frame.at).min()
    }

    /// Frames that arrived whole.
    pub fn whole_frames(&self) -> impl Iterator<Item = (&(u8, u64), &FrameLog)> {
        self.frames.iter().filter(|(_, frame)| frame.have == frame.of)
    }

    /// Frames of which a part is missing.
    pub fn torn_frames(&self) -> usize {
        self.frames.len() - self.whole_frames().count()
    }

    /// The first frame that arrived whole at or after `since`.
    pub fn first_whole_frame_since(&self, since: Instant) -> Option<(&(u8, u64), &FrameLog)> {
        self.whole_frames().filter(|(_, frame)| frame.at >= since).min_by_key(|(_, frame)| frame.at)
    }
}

/// Two packets of one stream, in the order of their sequence numbers.
fn check_pair(earlier: &Seen, later: &Seen, adjacent: bool) -> Result<(), String> {
    let (was, is) = (&earlier.content.mark, &later.content.mark);
    if later.content.is_layered {
        return check_layered_pair(earlier, later, adjacent);
    }
    let same_encoding = (&was.track, was.layer) == (&is.track, is.layer);
    let same_frame = same_encoding && was.frame == is.frame;
    let mismatch = |what: &str| Err(format!("{what}: {earlier:?} then {later:?}"));
    if later.timestamp < earlier.timestamp {
        return mismatch("time ran backwards");
    }
    if same_frame != (later.timestamp == earlier.timestamp) {
        return mismatch("frames and timestamps disagree");
    }
    if same_encoding && is.frame < was.frame {
        return mismatch("frames out of order");
    }
    if !adjacent || earlier.content.picture_id.is_none() {
        return Ok(());
    }
    let step = if same_frame { 0 } else { 1 };
    let expected = earlier.content.picture_id.map(|id| (id + step) & 0x7fff);
    if later.content.picture_id != expected {
        return mismatch("picture ids have a gap");
    }
    let follows = match (same_frame, same_encoding && is.frame == was.frame + 1) {
        (true, _) => is.index == was.index + 1,
        (false, true) => is.index == 0 && (was.index + 1 == was.of || is.keyframe),
        (false, false) => is.index == 0 && is.keyframe,
    };
    if !follows {
        return mismatch("not what follows");
    }
    Ok(())
}

/// The same of layers inside one encoding, of which a picture has those up to some size, the last packet of which ends
/// it. Pictures may be left out.
fn check_layered_pair(earlier: &Seen, later: &Seen, adjacent: bool) -> Result<(), String> {
    let (was, is) = (&earlier.content.mark, &later.content.mark);
    let mismatch = |what: &str| Err(format!("{what}: {earlier:?} then {later:?}"));
    let same_picture = was.frame == is.frame;
    if is.frame < was.frame || later.timestamp < earlier.timestamp {
        return mismatch("time ran backwards");
    }
    if same_picture != (later.timestamp == earlier.timestamp) {
        return mismatch("pictures and timestamps disagree");
    }
    let ids = earlier.content.picture_id.zip(later.content.picture_id);
    if ids.is_some_and(|(was, is)| (was == is) != same_picture) {
        return mismatch("pictures and their ids disagree");
    }
    if !adjacent {
        return Ok(());
    }
    if earlier.marker == same_picture {
        return mismatch("a marker stands where the picture goes on, or none where it ends");
    }
    let ends = was.index + 1 == was.of;
    let follows = match (same_picture, was.layer == is.layer) {
        (true, true) => is.index == was.index + 1,
        (true, false) => ends && is.index == 0 && is.layer == was.layer + 1,
        (false, _) => ends && is.index == 0 && is.layer == 0,
    };
    if follows { Ok(()) } else { mismatch("not what follows") }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::media::{EncodedPacket, LayeredEncoder, Picture, VideoEncoder};

    /// Two frames of one camera, a keyframe and another.
    fn camera(layer: u8) -> Vec<EncodedPacket> {
        let mut encoder = VideoEncoder::new(Picture::Vp8, layer, 7);
        let interval = Duration::from_millis(33);
        let mut packets = encoder.encode("PA_a", "TR_b", interval);
        packets.extend(encoder.encode("PA_a", "TR_b", interval));
        packets
    }

    fn stream(track: &str) -> Stream {
        let label = Label { publisher: "PA_a".into(), track: track.into(), stream: String::new() };
        let mut stream = Stream::default();
        stream.set_label(Some(label)).unwrap();
        stream
    }

    fn receive(
        stream: &mut Stream,
        packet: &EncodedPacket,
        seq: u64,
    ) -> Result<Option<Mark>, String> {
        stream.handle_packet(&ReceivedPacket {
            ssrc: 1,
            seq,
            timestamp: u64::from(packet.timestamp),
            marker: packet.marker,
            payload: &packet.payload,
            video: true,
            at: crate::world::start_of_time(),
        })
    }

    #[test]
    fn an_unbroken_stream_is_accepted_in_any_order() {
        let packets = camera(2);
        for reversed in [false, true] {
            let mut order: Vec<&EncodedPacket> = packets.iter().collect();
            if reversed {
                order.reverse();
            }
            let mut stream = stream("TR_b");
            for packet in order {
                assert!(receive(&mut stream, packet, packet.seq).unwrap().is_some());
            }
            assert_eq!(stream.missing(), 0);
        }
    }

    #[test]
    fn media_under_another_label_is_noticed() {
        let packets = camera(0);
        let error = receive(&mut stream("TR_c"), &packets[0], 1).unwrap_err();
        assert!(error.contains("TR_c"), "{error}");
    }

    #[test]
    fn a_stream_that_hides_a_loss_is_noticed() {
        let packets = camera(2);
        let mut stream = stream("TR_b");
        receive(&mut stream, &packets[0], 1).unwrap();
        receive(&mut stream, &packets[2], 2).unwrap_err();
    }

    #[test]
    fn a_loss_that_shows_is_counted() {
        let packets = camera(2);
        let mut stream = stream("TR_b");
        receive(&mut stream, &packets[0], 1).unwrap();
        receive(&mut stream, &packets[2], 3).unwrap();
        assert_eq!(stream.missing(), 1);
    }

    #[test]
    fn a_switch_in_the_middle_of_a_frame_of_another_layer_is_noticed() {
        let (low, high) = (camera(0), camera(2));
        let mut stream = stream("TR_b");
        receive(&mut stream, &low[0], 1).unwrap();
        receive(&mut stream, &high[1], 2).unwrap_err();
    }

    #[test]
    fn a_picture_of_which_larger_layers_are_missing_has_to_end_all_the_same() {
        let mut encoder = LayeredEncoder::new(3);
        let interval = Duration::from_millis(33);
        let pictures: Vec<EncodedPacket> =
            (0..2).flat_map(|_| encoder.encode("PA_a", "TR_b", interval)).collect();
        let small = |packet: &&EncodedPacket| {
            Content::parse(&packet.payload, true).unwrap().mark.layer == 0
        };
        let small: Vec<EncodedPacket> = pictures.iter().filter(small).cloned().collect();
        for (ended, seed) in [(true, 1), (false, 2)] {
            let mut stream = stream("TR_b");
            let given = small.iter().map(|one| EncodedPacket { marker: ended, ..one.clone() });
            let taken: Vec<bool> = given
                .zip(seed..)
                .map(|(packet, seq)| receive(&mut stream, &packet, seq).is_ok())
                .collect();
            assert_eq!(taken, [true, ended]);
        }
    }

    #[test]
    fn a_label_that_changes_without_being_inactive_is_noticed() {
        let mut stream = stream("TR_b");
        let other = Label { publisher: "PA_a".into(), track: "TR_c".into(), stream: String::new() };
        stream.set_label(Some(other.clone())).unwrap_err();
        stream.set_label(None).unwrap();
        stream.set_label(Some(other)).unwrap();
    }
}
