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
}

/// One RTP packet as it came out of the client's own stack.
#[derive(Debug)]
pub struct ReceivedPacket<'a> {
    /// Extended sequence number.
    pub seq: u64,
    /// Extended timestamp.
    pub timestamp: u64,
    /// Payload.
    pub payload: &'a [u8],
    /// Whether its section carries video.
    pub video: bool,
    /// When it arrived.
    pub at: Instant,
}

/// The stream of one receiving section.
#[derive(Debug, Default)]
pub struct Stream {
    label: Option<Label>,
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
    /// When the first one came.
    pub first_at: Option<Instant>,
    /// When the last one came.
    pub last_at: Option<Instant>,
    /// Layer of the last one.
    pub layer: u8,
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
        let content = Content::parse(packet.payload, packet.video)
            .ok_or_else(|| format!("a payload nobody sent: {:02x?}", packet.payload))?;
        let mark = content.mark.clone();
        let seen = Seen { timestamp: packet.timestamp, content };
        self.check_neighbours(packet.seq, &seen)?;
        if self.seen.insert(packet.seq, seen).is_some() {
            return Err(format!("sequence number {} twice", packet.seq));
        }
        self.count += 1;
        self.first = Some(self.first.map_or(packet.seq, |first| first.min(packet.seq)));
        self.last = Some(self.last.map_or(packet.seq, |last| last.max(packet.seq)));
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
