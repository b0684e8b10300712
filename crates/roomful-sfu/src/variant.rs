//! `Variant`: a further codec of a publication, for those who do not decode its first (LiveKit's backup codec).
//!
//! Its publisher names it when it announces the track, and sends it in a section of its own once somebody needs it.

use livekit_protocol as proto;

use crate::codecs::Codec;
use crate::demand::Demand;
use crate::egress::Layer;
use crate::link::VariantFacts;
use crate::media::TrackKey;
use crate::transport::Section;

/// See the module text.
#[derive(Debug)]
pub(crate) struct Variant {
    pub(crate) codec: Codec,
    /// Where its media arrives, once an offer carried it.
    pub(crate) section: Option<Section>,
    /// Its packets, once an offer carried it.
    pub(crate) track: Option<TrackKey>,
    /// How many encodings it is sent in.
    pub(crate) layers: usize,
    /// How much of it is wanted, and what its publisher knows of that.
    pub(crate) demand: Demand,
}

/// One codec of a publication, counted from the first, in the order in which its publisher prefers them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CodecIndex(usize);

/// A codec of a publication, and which that is; `None` where it is not known.
pub(crate) type Coded = (CodecIndex, Option<Codec>);

impl CodecIndex {
    /// What a publication is described with.
    pub(crate) const FIRST: Self = Self(0);

    /// Its place among the further ones; `None` of the first.
    pub(crate) fn further(self) -> Option<usize> {
        self.0.checked_sub(1)
    }

    /// The further ones of a publication with so many.
    pub(crate) fn all_further(further: usize) -> impl Iterator<Item = Self> {
        (1..=further).map(Self)
    }

    /// Every codec of a publication with so many further ones.
    pub(crate) fn all(further: usize) -> impl Iterator<Item = Self> {
        (0..=further).map(Self)
    }
}

impl Variant {
    /// The further codecs that `info` names and this server knows. Opus behind Opus with redundancy is none: the first is
    /// sent to those who take the second.
    pub(crate) fn named(info: &proto::TrackInfo) -> Vec<Self> {
        let mut codecs = info.codecs.iter().map(|one| Codec::of_name(&one.mime_type));
        let first = codecs.next().flatten();
        let is_further = |codec: &Codec| first.is_none_or(|first| !first.is_taken_by(*codec));
        codecs.flatten().filter(is_further).map(Self::new).collect()
    }

    fn new(codec: Codec) -> Self {
        Self { codec, section: None, track: None, layers: 1, demand: Demand::default() }
    }

    /// One of a publication of somebody in another part of the room, not sent as far as is known.
    pub(crate) fn from_elsewhere(facts: &VariantFacts) -> Self {
        Self::new(facts.codec)
    }

    /// The same as another part has to know it.
    pub(crate) fn facts(&self) -> VariantFacts {
        VariantFacts { codec: self.codec, layers: self.section.map(|_| self.layers) }
    }

    /// An offer carries it.
    pub(crate) fn bind(&mut self, section: Section, layers: usize) {
        self.section = Some(section);
        self.layers = layers.clamp(1, Layer::COUNT);
    }
}
