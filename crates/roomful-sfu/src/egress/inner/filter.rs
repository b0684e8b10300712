//! Which layers of an encoding one subscriber gets, picture by picture.
//!
//! A picture is everything with one timestamp. Up to its *limit* all of it is forwarded, smaller spatial layers too, though
//! some encoders predict nothing from them between keyframes: so a subscriber can be given less at any picture, without a
//! keyframe. More it gets where nothing is missed: in a picture that is predicted from no other, or by the first layer
//! frame of the next size that is not; and of temporal layers behind a picture that lets up.

use super::{LayerFrame, Target};
use crate::egress::IncomingPacket;

/// See the module text.
#[derive(Debug)]
pub(in crate::egress) struct LayerFilter {
    /// The newest first.
    limits: [Limit; REMEMBERED],
    picture: Picture,
    /// Pictures for which a quicker temporal layer was waited.
    waited: u8,
}

/// How far up the layers go from one picture on.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// Timestamp of its first picture.
    since: u64,
    up_to: Target,
}

/// The newest picture, as far as it came.
#[derive(Clone, Copy, Debug)]
struct Picture {
    timestamp: u64,
    /// The spatial layers of which anything was forwarded, one bit for each.
    forwarded: u8,
    /// Every layer frame that was forwarded lets up.
    lets_up: bool,
    /// It can be decoded without others.
    is_key: bool,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::egress) enum Verdict {
    Forward {
        /// It is the last of its picture that the subscriber gets.
        ends_picture: bool,
    },
    LeaveOut,
}

/// Limits that are remembered for late packets. Each change of a subscriber's wishes makes one or two: with fewer, packets
/// that come late behind a quick succession of changes are judged by the wrong one.
const REMEMBERED: usize = 4;

/// Pictures without one that lets up, after which a keyframe is asked for: two seconds at 30 a second. Encoders that say
/// where to go up do so several times a second. Fewer asks for keyframes that are not needed, more leaves who asked for a
/// quicker picture waiting.
const PATIENCE: u8 = 60;

impl LayerFilter {
    /// The encoding is entered with `packet`, the first of a picture that is predicted from no other.
    pub(in crate::egress) fn start(packet: &IncomingPacket<'_>, target: Target) -> Self {
        let limit = Limit { since: packet.timestamp, up_to: target };
        let picture =
            Picture { timestamp: packet.timestamp, forwarded: 0, lets_up: true, is_key: true };
        Self { limits: [limit; REMEMBERED], picture, waited: 0 }
    }

    /// Decides about a packet. `newest`: none later was seen; `enters`: decoding can begin with it.
    pub(in crate::egress) fn judge(
        &mut self,
        packet: &IncomingPacket<'_>,
        frame: LayerFrame,
        (newest, enters): (bool, bool),
        target: Target,
    ) -> Verdict {
        if newest {
            if packet.timestamp != self.picture.timestamp || enters {
                self.begin_picture(packet.timestamp, enters, target);
            }
            self.climb(packet.timestamp, frame, target);
        }
        let limit = self.limit_at(packet.timestamp);
        if frame.spatial > limit.spatial || frame.temporal > limit.temporal {
            return Verdict::LeaveOut;
        }
        if packet.timestamp == self.picture.timestamp {
            self.picture.forwarded |= bit(frame.spatial);
            self.picture.lets_up &= frame.lets_up || self.picture.is_key;
        }
        let ends_picture = packet.marker || (frame.ends && frame.spatial == limit.spatial);
        Verdict::Forward { ends_picture }
    }

    /// What is forwarded of the newest picture is less than `target` and stays so without a keyframe.
    pub(in crate::egress) fn lacks(&self, target: Target) -> bool {
        self.limits[0].up_to.spatial < target.spatial || self.waited >= PATIENCE
    }

    /// Whether nothing up to `target` is left out.
    pub(in crate::egress) fn reaches(&self, target: Target) -> bool {
        let Target { spatial, temporal } = self.limits[0].up_to;
        spatial >= target.spatial && temporal >= target.temporal
    }

    fn begin_picture(&mut self, timestamp: u64, is_key: bool, target: Target) {
        let last = self.picture;
        self.picture = Picture { timestamp, forwarded: 0, lets_up: true, is_key };
        if is_key {
            self.waited = 0;
            return self.limit(timestamp, target);
        }
        let Target { spatial, temporal } = self.limits[0].up_to;
        if target.temporal > temporal && last.forwarded != 0 && last.lets_up {
            self.waited = 0;
            // Right behind the picture that lets up: what is missing in between belongs to it, too.
            self.limit(last.timestamp.wrapping_add(1), Target { spatial, ..target });
        } else if target.temporal > temporal {
            self.waited = self.waited.saturating_add(1);
        }
        let Target { spatial, temporal } = self.limits[0].up_to;
        let less = Target {
            spatial: spatial.min(target.spatial),
            temporal: temporal.min(target.temporal),
        };
        if less != self.limits[0].up_to {
            self.limit(timestamp, less);
        }
        if target.temporal <= temporal {
            self.waited = 0;
        }
    }

    /// Takes the next larger spatial layer in, if this layer frame of it needs nothing that was left out. A layer of a
    /// picture that can be decoded without others turns out to be predicted from others all the same: it is left out.
    fn climb(&mut self, timestamp: u64, frame: LayerFrame, target: Target) {
        let up_to = self.limits[0].up_to;
        if self.picture.is_key && frame.refers_back && frame.spatial > 0 {
            let spatial = up_to.spatial.min(frame.spatial - 1);
            if spatial < up_to.spatial {
                self.limit(timestamp, Target { spatial, ..up_to });
            }
            return;
        }
        let is_next = frame.spatial == up_to.spatial.saturating_add(1);
        let below_is_there = self.picture.forwarded & bit(up_to.spatial) != 0;
        let is_decodable =
            frame.begins && !frame.refers_back && (below_is_there || !frame.refers_below);
        if is_next && frame.spatial <= target.spatial && is_decodable {
            self.limit(timestamp, Target { spatial: frame.spatial, ..up_to });
        }
    }

    fn limit(&mut self, since: u64, up_to: Target) {
        if self.limits[0].since != since {
            self.limits.rotate_right(1);
        }
        self.limits[0] = Limit { since, up_to };
    }

    /// The limit of the picture with this timestamp; for pictures from before all that are remembered, the oldest.
    fn limit_at(&self, timestamp: u64) -> Target {
        let [newest, .., oldest] = &self.limits;
        if newest.since <= timestamp {
            return newest.up_to;
        }
        self.limits.iter().find(|limit| limit.since <= timestamp).unwrap_or(oldest).up_to
    }
}

fn bit(spatial: u8) -> u8 {
    1_u8.checked_shl(u32::from(spatial)).unwrap_or(0)
}
