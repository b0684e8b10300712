//! `Track`: one publication's packets and everyone they are forwarded to.

use std::time::Instant;

use slotmap::SlotMap;

use super::SessionKey;
use super::feed::{Fed, Feed, Given};
use super::links::LinkEnds;
use super::recovery::Recovery;
use super::ring::{PacketRing, Position};
use super::session::MediaSession;
use crate::egress::{Layer, LayerWatch, MediaKind, Wanted};
use crate::keyframes::KeyframeThrottle;
use crate::transmit::{TransmitBuffer, level};
use crate::transport::Section;

/// See the module text.
#[derive(Debug)]
pub(crate) struct Track {
    pub(super) publisher: SessionKey,
    pub(super) kind: MediaKind,
    /// Where its packets arrive.
    pub(super) section: Section,
    pub(super) muted: bool,
    /// It stands in a queue of tracks to forward.
    pub(super) waits: bool,
    pub(super) ring: PacketRing,
    /// For sound: which packets are here, so that lost ones can be taken out of others.
    pub(super) recovery: Recovery,
    feeds: Vec<Option<Feed>>,
    pub(super) throttles: [KeyframeThrottle; Layer::COUNT],
    round: Option<Round>,
    /// Padding of each packet of the round.
    paddings: Vec<u8>,
    /// Memory for working the paddings out.
    lengths: Vec<usize>,
    /// Everything before it was handed to every feed, or is by the round under way.
    forwarded: Position,
    /// When a keyframe may have to be asked for, as last set.
    pub(super) keyframe_timer: Option<Instant>,
    /// Where in the room it comes from and goes to beyond this part.
    pub(super) links: LinkEnds,
    /// The layers inside its encodings.
    pub(super) layers: LayerWatch,
}

/// A feed's place in its track. Reused once the feed is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct FeedSlot(u32);

/// Some packets on their way to all feeds: each feed gets all of them in one go, which keeps datagrams of one
/// destination together, and a round can stop anywhere and go on later.
#[derive(Debug, Clone, Copy)]
struct Round {
    from: Position,
    to: Position,
    feed: usize,
    /// The next packet for that feed.
    at: Position,
}

/// How far forwarding came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Every packet is on its way to every feed.
    Done,
    /// The buffer is full.
    Full,
}

impl Track {
    pub(super) fn new(publisher: SessionKey, kind: MediaKind, section: Section) -> Self {
        Self {
            publisher,
            kind,
            section,
            muted: false,
            waits: false,
            ring: PacketRing::new(kind),
            recovery: Recovery::default(),
            feeds: Vec::new(),
            throttles: Default::default(),
            round: None,
            paddings: Vec::new(),
            lengths: Vec::new(),
            forwarded: Position::default(),
            keyframe_timer: None,
            links: LinkEnds::default(),
            layers: LayerWatch::default(),
        }
    }

    pub(super) fn insert(&mut self, feed: Feed) -> FeedSlot {
        let free = self.feeds.iter().position(Option::is_none);
        let index = free.unwrap_or_else(|| {
            self.feeds.push(None);
            self.feeds.len() - 1
        });
        self.feeds[index] = Some(feed);
        FeedSlot(u32::try_from(index).unwrap_or(u32::MAX))
    }

    pub(super) fn remove(&mut self, slot: FeedSlot) -> Option<Feed> {
        self.feeds.get_mut(slot.index())?.take()
    }

    pub(super) fn feed_mut(&mut self, slot: FeedSlot) -> Option<&mut Feed> {
        self.feeds.get_mut(slot.index())?.as_mut()
    }

    /// Sets what the subscriber of a feed gets; `false` if there is none.
    pub(super) fn set_wanted(&mut self, slot: FeedSlot, wanted: Option<Wanted>) -> bool {
        let Some(feed) = self.feeds.get_mut(slot.index()).and_then(Option::as_mut) else {
            return false;
        };
        feed.set_wanted(wanted, self.layers.shape());
        true
    }

    /// Every feed with its slot.
    pub(super) fn feeds_mut(&mut self) -> impl Iterator<Item = (FeedSlot, &mut Feed)> {
        let slots = (0..).map(FeedSlot);
        slots.zip(&mut self.feeds).filter_map(|(slot, feed)| Some((slot, feed.as_mut()?)))
    }

    /// One of the encodings begins anew, under another SSRC.
    pub(super) fn restart(&mut self, layer: Layer) {
        self.recovery.begin_anew();
        for feed in self.feeds.iter_mut().flatten() {
            feed.handle_stream_reset(layer);
        }
    }

    /// A feed and the ring it repeats packets from.
    pub(super) fn feed_and_ring(&mut self, slot: FeedSlot) -> Option<(&mut Feed, &PacketRing)> {
        Some((self.feeds.get_mut(slot.index())?.as_mut()?, &self.ring))
    }

    /// Writes what waits to `into`, as far as there is room. Feeds whose keyframe wishes may have changed are
    /// told to `wishing`.
    pub(super) fn forward(
        &mut self,
        sessions: &mut SlotMap<SessionKey, MediaSession>,
        now: Instant,
        into: &mut TransmitBuffer,
        mut wishing: impl FnMut(FeedSlot, &mut Feed, &mut [KeyframeThrottle; Layer::COUNT]),
    ) -> Progress {
        loop {
            let Some(mut round) = self.round.take().or_else(|| self.next_round()) else {
                return Progress::Done;
            };
            while let Some(feed) = self.feeds.get_mut(round.feed) {
                if let Some(feed) = feed
                    && let Some(session) = sessions.get_mut(feed.session)
                {
                    while round.at < round.to {
                        let padding = self.paddings.get((round.at.0 - round.from.0) as usize);
                        if let Some((kept, payload)) = self.ring.get(round.at) {
                            let padding = *padding.unwrap_or(&0);
                            let (position, shape) = (round.at, self.layers.shape());
                            let descriptor = self.ring.descriptor(kept);
                            let given =
                                Given { position, padding, kept, payload, descriptor, shape };
                            let fed = feed.forward(given, session, now, into);
                            if fed == Fed::Full {
                                self.round = Some(round);
                                return Progress::Full;
                            }
                        }
                        round.at.0 += 1;
                    }
                    let slot = FeedSlot(u32::try_from(round.feed).unwrap_or(u32::MAX));
                    wishing(slot, feed, &mut self.throttles);
                }
                round.feed += 1;
                round.at = round.from;
            }
        }
    }

    fn next_round(&mut self) -> Option<Round> {
        let (from, to) = (self.forwarded, self.ring.end());
        self.forwarded = to;
        if from == to {
            return None;
        }
        self.pad(from, to);
        Some(Round { from, to, feed: 0, at: from })
    }

    /// Works out which packets of a round to pad, so that those of one layer leave in few messages.
    fn pad(&mut self, from: Position, to: Position) {
        let positions = || (from.0..to.0).map(Position);
        self.paddings.clear();
        self.paddings.resize((to.0 - from.0) as usize, 0);
        for layer in Layer::ALL {
            let ring = &self.ring;
            let length = |position| {
                let (kept, payload) = ring.get(position)?;
                // An extension that only some packets carry takes a word (RFC 8285 §4.1).
                let extension = if kept.extensions.orientation.is_some() { 4 } else { 0 };
                let extension = extension + ring.descriptor(kept).len();
                (kept.layer == layer && !payload.is_empty()).then_some(payload.len() + extension)
            };
            self.lengths.clear();
            self.lengths.extend(positions().filter_map(length));
            if self.lengths.len() < 2 {
                continue;
            }
            level(&mut self.lengths);
            let own = self
                .paddings
                .iter_mut()
                .zip(positions())
                .filter_map(|(padding, position)| Some((padding, length(position)?)));
            for ((padding, length), levelled) in own.zip(&self.lengths) {
                *padding = u8::try_from(levelled - length).unwrap_or(0);
            }
        }
    }
}

impl FeedSlot {
    fn index(self) -> usize {
        self.0 as usize
    }
}
