//! `LayerWatch`: reads off the packets of a track which layers are inside its encodings, once for all who receive it.

use roomful_rtp::rtp::dependency::{DependencyStructure, FrameDependencies};

use super::{LayerFrame, MAX_SPATIAL, MAX_TEMPORAL, Shape};
use crate::egress::Layer;
use crate::egress::codec::{Codec, vp9};

/// See the module text.
#[derive(Debug, Default)]
pub struct LayerWatch {
    shape: Shape,
    count: Count,
    /// Bytes of payload that arrived so far of each encoding, or of each layer inside the only one.
    carried: [u64; Layer::COUNT],
    /// Of encodings with dependency descriptors, once there are any.
    dependencies: Option<Box<[Dependencies; Layer::COUNT]>>,
}

/// A packet, as far as it may say something of layers.
#[derive(Debug, Clone, Copy)]
pub struct Observed<'a> {
    /// What it is coded with.
    pub codec: Codec,
    /// The encoding it belongs to.
    pub layer: Layer,
    /// Extended past 32 bits.
    pub timestamp: u64,
    /// Without its padding.
    pub payload: &'a [u8],
    /// Its dependency descriptor; empty if it has none.
    pub descriptor: &'a [u8],
}

/// What the frames of one encoding are predicted from.
#[derive(Debug, Default)]
struct Dependencies {
    structure: Option<DependencyStructure>,
    /// Timestamp of the newest picture, and the number of its first frame.
    picture: Option<(u64, u16)>,
}

/// The pictures of each temporal layer in the span under way.
#[derive(Debug, Default)]
struct Count {
    /// Timestamp of the first and the newest picture counted.
    span: Option<(u64, u64)>,
    pictures: [u32; MAX_TEMPORAL],
}

/// Ticks of a span over which frame rates are counted: two seconds. Longer notices later that a camera slowed down, shorter
/// counts few pictures of the lowest layer and is off by one of them.
const SPAN: u64 = 2 * 90_000;

/// Spans longer than this had no pictures for a while, so their mean says nothing.
const LONGEST_SPAN: u64 = 2 * SPAN;

impl LayerWatch {
    /// What is known of the layers.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Bytes of payload that arrived so far of each encoding, or of each layer inside the only one.
    pub fn carried(&self) -> [u64; Layer::COUNT] {
        self.carried
    }

    /// Looks into the next packet of an encoding. `None`: it says nothing of layers.
    pub fn observe(&mut self, packet: &Observed<'_>) -> Option<LayerFrame> {
        let frame = self.look_into(packet);
        let inside = frame.map_or(0, |frame| usize::from(frame.spatial));
        if let Some(carried) = self.carried.get_mut(packet.layer.index().max(inside)) {
            *carried += packet.payload.len() as u64;
        }
        frame
    }

    fn look_into(&mut self, packet: &Observed<'_>) -> Option<LayerFrame> {
        let frame = match packet.codec {
            Codec::Vp9 => self.observe_vp9(packet.payload)?,
            Codec::Av1 if !packet.descriptor.is_empty() => self.observe_descriptor(packet)?,
            _ => return None,
        };
        if let Some(rates) = self.count.handle_picture(packet.timestamp, frame.temporal) {
            self.shape.rates = rates;
        }
        Some(frame)
    }

    fn observe_vp9(&mut self, payload: &[u8]) -> Option<LayerFrame> {
        let (frame, sizes) = vp9::layer_frame(payload)?;
        if let Some(sizes) = sizes {
            self.shape.spatial = sizes.count;
            self.shape.pixels = sizes.pixels;
        }
        Some(frame)
    }

    fn observe_descriptor(&mut self, packet: &Observed<'_>) -> Option<LayerFrame> {
        let all = self.dependencies.get_or_insert_default();
        let one = all.get_mut(packet.layer.index())?;
        let read = FrameDependencies::parse(packet.descriptor, &mut one.structure).ok()?;
        if read.has_structure
            && let Some(structure) = &one.structure
        {
            self.shape.handle_structure(structure);
        }
        Some(one.place(&read, packet.timestamp))
    }
}

impl Shape {
    fn handle_structure(&mut self, structure: &DependencyStructure) {
        self.spatial = structure.spatial_layers();
        self.pixels = [0; MAX_SPATIAL];
        for (pixels, (width, height)) in
            self.pixels.iter_mut().zip(structure.sizes().unwrap_or_default())
        {
            *pixels = u32::from(*width) * u32::from(*height);
        }
    }
}

impl Dependencies {
    /// Where a frame stands. What it is predicted from is of the same picture if it is not older than the first frame of
    /// that which was seen; of a picture that came late that is not known, so all of it counts as older.
    fn place(&mut self, read: &FrameDependencies, timestamp: u64) -> LayerFrame {
        let (newest, first) = self.picture.unwrap_or((timestamp, read.number));
        let first = if timestamp == newest { first } else { read.number };
        if timestamp >= newest {
            self.picture = Some((timestamp, first));
        }
        let into_picture = read.number.wrapping_sub(first);
        LayerFrame {
            spatial: read.spatial,
            temporal: read.temporal,
            begins: read.begins,
            ends: read.ends,
            refers_back: read.references.is_some_and(|(_, farthest)| farthest > into_picture),
            refers_below: read.references.is_some_and(|(nearest, _)| nearest <= into_picture),
            lets_up: read.lets_up,
            number: Some(read.number),
        }
    }
}

impl Count {
    /// Counts a picture when its first packet is seen; returns the rates of a span that ended, in frames in ten seconds.
    fn handle_picture(&mut self, timestamp: u64, temporal: u8) -> Option<[u32; MAX_TEMPORAL]> {
        let Some((first, newest)) = self.span else {
            self.span = Some((timestamp, timestamp));
            return None;
        };
        if timestamp <= newest {
            return None;
        }
        if let Some(count) = self.pictures.get_mut(usize::from(temporal)) {
            *count += 1;
        }
        self.span = Some((first, timestamp));
        let elapsed = timestamp - first;
        if elapsed < SPAN {
            return None;
        }
        let pictures = std::mem::take(&mut self.pictures);
        self.span = Some((timestamp, timestamp));
        if elapsed > LONGEST_SPAN {
            return None;
        }
        let mut up_to = 0;
        Some(pictures.map(|count| {
            up_to += count;
            let rate = u64::from(up_to) * 90_000 * 10 / elapsed;
            u32::try_from(rate).unwrap_or(u32::MAX)
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frame_rates_are_counted_by_temporal_layer() {
        let mut count = Count::default();
        let mut rates = None;
        for picture in 0..70_u64 {
            let temporal = [0, 2, 1, 2][picture as usize % 4];
            rates = count.handle_picture(picture * 3_000, temporal).or(rates);
            assert_eq!(count.handle_picture(picture * 3_000, temporal), None, "of one picture");
        }
        let [low, middle, all, ..] = rates.unwrap();
        assert_eq!((low, middle, all), (75, 150, 300));
    }

    #[test]
    fn a_pause_is_no_frame_rate() {
        let mut count = Count::default();
        for picture in 0..30_u64 {
            assert_eq!(count.handle_picture(picture * 3_000, 0), None);
        }
        assert_eq!(count.handle_picture(30 * 90_000, 0), None);
        assert_eq!(count.pictures, [0; MAX_TEMPORAL]);
    }
}
