//! `Publication`: a track as its participant offers it to the room, from publish to unpublish.

use livekit_protocol as proto;
use proto::video_layer::Mode;
use roomful_rtp::units::Bitrate;
use std::collections::BTreeSet;

use crate::allocation::Share;
use crate::codecs::{Codec, EnabledCodecs};
use crate::demand::Demand;
use crate::egress::inner::TOLERANCE;
use crate::egress::{FrameRate, InnerWish, Layer, MediaKind, Wanted};
use crate::ids::{ParticipantId, TrackSid};
use crate::link::TrackFacts;
use crate::media::TrackKey;
use crate::room::Spread;
use crate::signalling::Wishes;
use crate::track_info;
use crate::transport::offer::OfferedSection;
use crate::transport::{Section, SentAs};
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
    /// Its participant takes redundancy for sound that names no codec.
    redundant: bool,
    /// How much of it is wanted, and what its publisher knows of that.
    pub(crate) demand: Demand,
    /// Where else in the room it is wanted, or comes from.
    pub(crate) spread: Spread,
    /// Its further codecs.
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
            redundant: track_info::takes_redundancy(request),
            demand: Demand::default(),
            spread: Spread::default(),
        }
    }

    /// A publication of somebody in another part of the room. Its media comes over a link; to the media plane it
    /// arrives at a section of its own all the same.
    pub(crate) fn from_elsewhere(order: u64, facts: TrackFacts) -> Self {
        let TrackFacts { info, layers, further } = facts;
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
            redundant: false,
            demand: Demand::default(),
            spread: Spread::default(),
            further: further.iter().map(Variant::from_elsewhere).collect(),
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

    /// It shows a screen.
    pub(crate) fn is_screen(&self) -> bool {
        self.info.source() == proto::TrackSource::ScreenShare
    }

    /// Its pictures come with trailers.
    pub(crate) fn has_trailers(&self) -> bool {
        !self.info.packet_trailer_features.is_empty()
    }

    /// Whether an offer means this publication by a track called `cid`.
    pub(crate) fn is_called(&self, cid: &str) -> bool {
        self.cid == cid || self.info.codecs.iter().any(|codec| codec.cid == cid)
    }

    /// What it is coded with, as far as that is known.
    pub(crate) fn codec(&self) -> Option<Codec> {
        Codec::of_name(&self.info.mime_type)
    }

    /// An offer carries it: media of `layers` encodings arrives at `section`, for which the codecs `agreed` were
    /// agreed on. It is coded with the first of them, unless its participant named another one of them before; sound with
    /// redundancy, if that was agreed on and its participant did not decline it.
    pub(crate) fn bind(&mut self, section: Section, mid: &str, layers: usize, agreed: &[Codec]) {
        self.section = Some(section);
        let named = self.codec().filter(|named| !self.any_codec && agreed.contains(named));
        let redundant = self.redundant && agreed.contains(&Codec::Red);
        let plain = agreed.iter().copied().find(|codec| *codec != Codec::Red);
        let preferred = redundant.then_some(Codec::Red).or(plain);
        if let (None, Some(preferred)) = (named, preferred) {
            track_info::set_codec(&mut self.info, preferred);
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

    /// How each of its sections is to be sent. `alone`: pictures in one codec that the client has no choice of.
    pub(crate) fn sent(&self, alone: bool) -> impl Iterator<Item = (Section, SentAs)> {
        let is_audio = self.kind() == MediaKind::Audio;
        let sent = move |codec| SentAs {
            codec,
            alone: alone && !is_audio,
            stereo: is_audio && track_info::is_stereo(&self.info),
            silence: is_audio && track_info::is_silent_in_between(&self.info),
        };
        let further = self.further.iter().filter_map(|one| Some((one.section?, Some(one.codec))));
        let all = self.section.map(|section| (section, self.codec())).into_iter().chain(further);
        all.map(move |(section, codec)| (section, sent(codec)))
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

    /// What to forward of one of its codecs for `wishes`, of a moving picture as many frames a second as `rate`, where its
    /// receiver gets no more than `share`; `None` for nothing at all.
    pub(crate) fn wanted_in(
        &self,
        index: CodecIndex,
        wishes: Wishes,
        rate: Option<FrameRate>,
        share: Share,
    ) -> Option<Wanted> {
        let Share::UpTo(most) = share else { return None };
        let wished = self.layer_in(index, wishes)?;
        let layer = wished.min(most);
        if self.encodings_in(index) > 1 {
            return Some(Wanted { encoding: layer, inner: InnerWish { rate, ..InnerWish::ALL } });
        }
        let layers = self.layers_in(index);
        let is_best = layer.index() + 1 == layers;
        let pixels = match wishes {
            Wishes::Size { width, height } if layer == wished => {
                u64::from(width) * u64::from(height)
            }
            _ if is_best => u64::MAX,
            _ => self.layer_sizes(layers).get(layer.index()).copied().unwrap_or(0),
        };
        let rank = if is_best { Layer::HIGH } else { layer };
        Some(Wanted { encoding: Layer::LOW, inner: InnerWish { rank, pixels, rate } })
    }

    /// The layer that serves `wishes` best in one of its codecs, an encoding or a layer inside the only one; `None` for
    /// nothing at all.
    ///
    /// For a size it is the smallest layer at least that large: a larger one would be scaled down at the
    /// receiver for nothing, a smaller one would look soft.
    pub(crate) fn layer_in(&self, index: CodecIndex, wishes: Wishes) -> Option<Layer> {
        let layers = self.layers_in(index);
        let highest = *Layer::ALL.get(layers - 1)?;
        let wanted = match wishes {
            Wishes::Disabled => return None,
            Wishes::Quality(proto::VideoQuality::Off) => return None,
            Wishes::Quality(proto::VideoQuality::Low) => Layer::LOW,
            // Of a medium and a high layer, the medium one is the lowest.
            Wishes::Quality(proto::VideoQuality::Medium) if self.begins_above_low(index) => {
                Layer::LOW
            }
            Wishes::Quality(proto::VideoQuality::Medium) => Layer::MID,
            Wishes::Quality(proto::VideoQuality::High) => Layer::HIGH,
            Wishes::Size { width, height } => self.smallest_layer_filling(layers, width, height),
        };
        Some(wanted.min(highest))
    }

    /// What forwarding each layer takes where `rates` is what each carries: a layer inside an encoding needs those below.
    pub(crate) fn costs_in(
        &self,
        index: CodecIndex,
        rates: [Bitrate; Layer::COUNT],
    ) -> [Bitrate; Layer::COUNT] {
        if self.encodings_in(index) > 1 {
            return rates;
        }
        let mut below = 0;
        rates.map(|rate| {
            below += rate.0;
            Bitrate(below)
        })
    }

    fn encodings_in(&self, index: CodecIndex) -> usize {
        self.variant(index).map_or(self.layers, |one| one.layers)
    }

    /// How many layers there are to choose from: the encodings, or the layers that were announced of a codec that has them
    /// inside its only encoding.
    fn layers_in(&self, index: CodecIndex) -> usize {
        let encodings = self.encodings_in(index);
        let inside = self.announced_codec(index).filter(|codec| {
            encodings == 1 && codec.video_layer_mode() == Mode::MultipleSpatialLayersPerStream
        });
        inside.map_or(encodings, |codec| codec.layers.len().clamp(1, Layer::COUNT))
    }

    fn begins_above_low(&self, index: CodecIndex) -> bool {
        let layers = self.announced_codec(index).map(|codec| codec.layers.as_slice());
        layers.unwrap_or_default().iter().all(|layer| layer.quality() != proto::VideoQuality::Low)
            && layers.is_some_and(|layers| layers.len() > 1)
    }

    fn announced_codec(&self, index: CodecIndex) -> Option<&proto::SimulcastCodecInfo> {
        let mut infos = self.info.codecs.iter();
        match self.variant(index) {
            Some(variant) => {
                infos.find(|one| Codec::of_name(&one.mime_type) == Some(variant.codec))
            }
            None => infos.next(),
        }
    }

    fn smallest_layer_filling(&self, layers: usize, width: u32, height: u32) -> Layer {
        let wanted = u128::from(width) * u128::from(height);
        let sizes = self.layer_sizes(layers);
        Layer::ALL
            .into_iter()
            .zip(sizes)
            .find(|(_, pixels)| {
                u128::from(*pixels) * u128::from(TOLERANCE.1) >= wanted * u128::from(TOLERANCE.0)
            })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demand::Level;
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

    fn layered(qualities: &[VideoQuality]) -> Publication {
        let layers: Vec<proto::VideoLayer> = (0..)
            .zip(qualities.iter().rev())
            .map(|(halvings, quality)| proto::VideoLayer {
                quality: (*quality).into(),
                width: 1280 >> halvings,
                height: 720 >> halvings,
                ..Default::default()
            })
            .collect();
        let request = proto::AddTrackRequest {
            r#type: proto::TrackType::Video.into(),
            width: 1280,
            height: 720,
            layers: layers.clone(),
            simulcast_codecs: vec![proto::SimulcastCodec {
                codec: "vp9".into(),
                layers,
                ..Default::default()
            }],
            ..Default::default()
        };
        let mut publication =
            Publication::new(TrackSid::new("TR_a"), 0, &request, &EnabledCodecs::default());
        publication.bind(Section::from_index(0), "0", 1, &[Codec::Vp9]);
        publication
    }

    #[test]
    fn of_layers_inside_one_encoding_a_quality_is_one_of_those_announced() {
        use VideoQuality::{High, Low, Medium};
        let layer = |announced: &[VideoQuality], wished| {
            layered(announced).layer_in(CodecIndex::FIRST, Wishes::Quality(wished)).unwrap().index()
        };
        for (announced, expected) in [
            (&[Low, Medium, High][..], [0, 1, 2]),
            (&[Low, Medium], [0, 1, 1]),
            (&[Low, High], [0, 1, 1]),
            (&[Medium, High], [0, 0, 1]),
            (&[Low], [0, 0, 0]),
        ] {
            assert_eq!([Low, Medium, High].map(|wished| layer(announced, wished)), expected);
        }
    }

    #[test]
    fn a_layer_inside_an_encoding_is_wanted_by_its_size_and_the_best_without_one() {
        use VideoQuality::{High, Low, Medium};
        let camera = layered(&[Low, Medium, High]);
        let inner = |wishes| {
            let wanted = camera.wanted_in(CodecIndex::FIRST, wishes, None, Share::ALL).unwrap();
            assert_eq!(wanted.encoding, Layer::LOW, "there is no other");
            (wanted.inner.rank, wanted.inner.pixels)
        };
        assert_eq!(inner(Wishes::Quality(Low)), (Layer::LOW, 320 * 180));
        assert_eq!(inner(Wishes::Quality(Medium)), (Layer::MID, 640 * 360));
        assert_eq!(inner(Wishes::Quality(High)), (Layer::HIGH, u64::MAX));
        assert_eq!(inner(Wishes::Size { width: 400, height: 200 }), (Layer::MID, 80_000));
    }

    #[test]
    fn how_much_is_wanted_of_layers_inside_an_encoding_is_told_layer_by_layer() {
        use VideoQuality::{High, Low, Medium, Off};
        let camera = layered(&[Low, Medium, High]);
        let level = |quality| camera.level_in(CodecIndex::FIRST, Wishes::Quality(quality));
        assert_eq!(
            [Off, Low, Medium, High].map(level),
            [Level::Nothing, Level::Low, Level::Medium, Level::High]
        );
    }
}
