//! `Publication`: a track as its participant offers it to the room, from publish to unpublish.

use livekit_protocol as proto;
use std::collections::BTreeSet;

use crate::codecs::{Codec, EnabledCodecs};
use crate::demand::Demand;
use crate::egress::{Layer, MediaKind};
use crate::ids::{ParticipantId, TrackSid};
use crate::media::TrackKey;
use crate::room::Spread;
use crate::signalling::Wishes;
use crate::track_info;
use crate::transport::Section;
use crate::transport::offer::OfferedSection;
use crate::variant::{CodecIndex, Coded, Variant};

/// See the module text.
#[derive(Debug)]
pub(crate) struct Publication {
    pub(crate) sid: TrackSid,
    /// The id its participant gave the track, by which the offer names it too.
    pub(crate) cid: String,
    /// Which of its participant's publications it is, counted from the first.
    pub(crate) order: u64,
    /// As told to the room.
    pub(crate) info: proto::TrackInfo,
    /// Where its media arrives, once an offer carried it.
    pub(crate) section: Option<Section>,
    /// Its packets, once an offer carried it.
    pub(crate) track: Option<TrackKey>,
    /// Who receives it.
    pub(crate) subscribers: BTreeSet<ParticipantId>,
    /// How many encodings it is sent in.
    layers: usize,
    /// Its participant did not say which codec it is coded with: the offer that carries it does.
    any_codec: bool,
    /// How much of it is wanted, and what its publisher knows of that.
    pub(crate) demand: Demand,
    /// Where else in the room it is wanted, or comes from.
    pub(crate) spread: Spread,
    /// Its further codecs. Those of a publication from elsewhere are not known here.
    pub(crate) further: Vec<Variant>,
}

impl Publication {
    /// A publication as requested, not yet carried by any offer.
    pub(crate) fn new(
        sid: TrackSid,
        order: u64,
        request: &proto::AddTrackRequest,
        codecs: &EnabledCodecs,
    ) -> Self {
        let info = track_info::announced(&sid, request, codecs);
        Self {
            further: Variant::named(&info),
            info,
            sid,
            order,
            cid: request.cid.clone(),
            section: None,
            track: None,
            subscribers: BTreeSet::new(),
            layers: 1,
            any_codec: request.simulcast_codecs.iter().all(|named| named.codec.is_empty()),
            demand: Demand::default(),
            spread: Spread::default(),
        }
    }

    /// A publication of somebody in another part of the room. Its media comes over a link; to the media plane it
    /// arrives at a section of its own all the same.
    pub(crate) fn from_elsewhere(order: u64, info: proto::TrackInfo, layers: usize) -> Self {
        let section = Section::from_index(usize::try_from(order).unwrap_or_default());
        Self {
            sid: TrackSid::new(info.sid.as_str()),
            order,
            cid: String::new(),
            info,
            section: Some(section),
            track: None,
            subscribers: BTreeSet::new(),
            layers: layers.clamp(1, Layer::COUNT),
            any_codec: false,
            demand: Demand::default(),
            spread: Spread::default(),
            further: Vec::new(),
        }
    }

    /// How many encodings it is sent in.
    pub(crate) fn layers(&self) -> usize {
        self.layers
    }

    /// The same, as told by the part it comes from.
    pub(crate) fn set_layers(&mut self, layers: usize) {
        self.layers = layers.clamp(1, Layer::COUNT);
    }

    pub(crate) fn kind(&self) -> MediaKind {
        match self.info.r#type() {
            proto::TrackType::Audio => MediaKind::Audio,
            proto::TrackType::Video | proto::TrackType::Data => MediaKind::Video,
        }
    }

    /// Whether an offer means this publication by a track called `cid`.
    /// It shows a screen.
    pub(crate) fn is_screen(&self) -> bool {
        self.info.source() == proto::TrackSource::ScreenShare
    }

    pub(crate) fn is_called(&self, cid: &str) -> bool {
        self.cid == cid || self.info.codecs.iter().any(|codec| codec.cid == cid)
    }

    /// What it is coded with, as far as that is known.
    pub(crate) fn codec(&self) -> Option<Codec> {
        Codec::of_name(&self.info.mime_type)
    }

    /// An offer carries it: media of `layers` encodings arrives at `section`, for which the codecs `agreed` were
    /// agreed on. It is coded with the first of them, unless its participant named another one of them before.
    pub(crate) fn bind(&mut self, section: Section, mid: &str, layers: usize, agreed: &[Codec]) {
        self.section = Some(section);
        let named = self.codec().filter(|named| !self.any_codec && agreed.contains(named));
        if let (None, Some(preferred)) = (named, agreed.first()) {
            track_info::set_codec(&mut self.info, *preferred);
            self.further = Variant::named(&self.info);
        }
        self.layers = layers.clamp(1, Layer::COUNT);
        mid.clone_into(&mut self.info.mid);
        // Further codecs come in sections of their own.
        if let Some(first) = self.info.codecs.first_mut() {
            mid.clone_into(&mut first.mid);
        }
    }

    /// The further codec that an offer carries as a track called `cid`, if it waits for that.
    pub(crate) fn variant_called(&self, cid: &str) -> Option<CodecIndex> {
        let named = |codec: Codec| {
            let mut infos = self.info.codecs.iter();
            infos.find(|one| Codec::of_name(&one.mime_type) == Some(codec)).map(|one| &one.cid)
        };
        self.codecs().map(|(index, _)| index).find(|index| {
            let variant = self.variant(*index).filter(|one| one.section.is_none());
            variant.and_then(|one| named(one.codec)).is_some_and(|name| name == cid)
        })
    }

    /// An offer carries it in a further codec.
    pub(crate) fn bind_variant(&mut self, index: CodecIndex, offer: &OfferedSection) {
        let Some(variant) = self.variant_mut(index) else { return };
        variant.bind(offer.section, offer.rids.len());
        let codec = variant.codec;
        let is_it =
            |one: &&mut proto::SimulcastCodecInfo| Codec::of_name(&one.mime_type) == Some(codec);
        if let Some(info) = self.info.codecs.iter_mut().find(is_it) {
            info.mid.clone_from(&offer.mid);
        }
    }

    /// Whether its media, in any of its codecs, arrives there.
    pub(crate) fn is_carried_by(&self, section: Section) -> bool {
        let section = Some(section);
        self.section == section || self.further.iter().any(|one| one.section == section)
    }

    /// What it can be had in, the first first.
    pub(crate) fn codecs(&self) -> impl Iterator<Item = Coded> {
        CodecIndex::all(self.further.len()).map(|index| match self.variant(index) {
            Some(variant) => (index, Some(variant.codec)),
            None => (index, self.codec()),
        })
    }

    /// A further codec.
    pub(crate) fn variant(&self, index: CodecIndex) -> Option<&Variant> {
        self.further.get(index.further()?)
    }

    /// The same to be changed.
    pub(crate) fn variant_mut(&mut self, index: CodecIndex) -> Option<&mut Variant> {
        self.further.get_mut(index.further()?)
    }

    /// Its packets in one of its codecs, once an offer carried them.
    pub(crate) fn track_in(&self, index: CodecIndex) -> Option<TrackKey> {
        match index {
            CodecIndex::FIRST => self.track,
            _ => self.variant(index)?.track,
        }
    }

    /// Its packets in every codec it is sent in.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = TrackKey> {
        self.track.into_iter().chain(self.further.iter().filter_map(|one| one.track))
    }

    /// The layer that serves `wishes` best in one of its codecs; `None` for nothing at all.
    ///
    /// For a size it is the smallest layer at least that large: a larger one would be scaled down at the
    /// receiver for nothing, a smaller one would look soft.
    pub(crate) fn layer_in(&self, index: CodecIndex, wishes: Wishes) -> Option<Layer> {
        let layers = self.variant(index).map_or(self.layers, |one| one.layers);
        let highest = *Layer::ALL.get(layers - 1)?;
        let wanted = match wishes {
            Wishes::Disabled => return None,
            Wishes::Quality(proto::VideoQuality::Off) => return None,
            Wishes::Quality(proto::VideoQuality::Low) => Layer::LOW,
            Wishes::Quality(proto::VideoQuality::Medium) => Layer::MID,
            Wishes::Quality(proto::VideoQuality::High) => Layer::HIGH,
            Wishes::Size { width, height } => self.smallest_layer_filling(layers, width, height),
        };
        Some(wanted.min(highest))
    }

    fn smallest_layer_filling(&self, layers: usize, width: u32, height: u32) -> Layer {
        let wanted = u128::from(width) * u128::from(height);
        let sizes = self.layer_sizes(layers);
        Layer::ALL
            .into_iter()
            .zip(sizes)
            .find(|(_, pixels)| u128::from(*pixels) * TOLERANCE.1 >= wanted * TOLERANCE.0)
            .map_or(Layer::HIGH, |(layer, _)| layer)
    }

    /// Pixels of each of so many layers as announced, lowest first; halved sides where the announcement is silent.
    fn layer_sizes(&self, layers: usize) -> Vec<u64> {
        #[expect(deprecated, reason = "clients announce the layers of the first codec here")]
        let mut announced: Vec<u64> = self
            .info
            .layers
            .iter()
            .map(|layer| u64::from(layer.width) * u64::from(layer.height))
            .filter(|pixels| *pixels > 0)
            .collect();
        announced.sort_unstable();
        if announced.len() == layers {
            return announced;
        }
        let full = u64::from(self.info.width.max(1)) * u64::from(self.info.height.max(1));
        (0..layers).rev().map(|halvings| full >> (2 * halvings)).collect()
    }
}

/// A layer counts as filling a tile if it has at least 4/5 of its pixels: without the tolerance a tile a few
/// pixels larger than a layer would take one of four times the bitrate; with much more, tiles look soft.
const TOLERANCE: (u128, u128) = (4, 5);

#[cfg(test)]
mod tests {
    use super::*;
    use proto::VideoQuality;

    fn camera(layers: usize) -> Publication {
        let request = proto::AddTrackRequest {
            r#type: proto::TrackType::Video.into(),
            width: 1280,
            height: 720,
            ..Default::default()
        };
        let mut publication =
            Publication::new(TrackSid::new("TR_a"), 0, &request, &EnabledCodecs::default());
        publication.bind(Section::from_index(0), "0", layers, &[]);
        publication
    }

    #[test]
    fn a_tile_gets_the_smallest_layer_that_fills_it() {
        let camera = camera(3);
        let layer =
            |width, height| camera.layer_in(CodecIndex::FIRST, Wishes::Size { width, height });
        assert_eq!(layer(100, 60), Some(Layer::LOW));
        assert_eq!(layer(330, 190), Some(Layer::LOW));
        assert_eq!(layer(640, 360), Some(Layer::MID));
        assert_eq!(layer(1000, 700), Some(Layer::HIGH));
        assert_eq!(layer(4000, 4000), Some(Layer::HIGH));
        assert_eq!(layer(u32::MAX, u32::MAX), Some(Layer::HIGH));
    }

    #[test]
    fn nothing_is_forwarded_of_what_is_off_screen() {
        assert_eq!(camera(3).layer_in(CodecIndex::FIRST, Wishes::Disabled), None);
    }

    #[test]
    fn a_layer_the_publication_lacks_becomes_its_best() {
        assert_eq!(
            camera(1).layer_in(CodecIndex::FIRST, Wishes::Quality(VideoQuality::High)),
            Some(Layer::LOW)
        );
        assert_eq!(
            camera(2).layer_in(CodecIndex::FIRST, Wishes::Quality(VideoQuality::High)),
            Some(Layer::MID)
        );
        let larger = Wishes::Size { width: 1280, height: 720 };
        assert_eq!(camera(2).layer_in(CodecIndex::FIRST, larger), Some(Layer::MID));
    }
}
