//! Layers inside one encoding (SVC): what a packet says of its place among them, and what is known of them all.
//!
//! An encoding may carry its pictures in several sizes (spatial layers, each predicted from the one below) and in an
//! order that lets some pictures be left out (temporal layers). [`LayerWatch`] reads this off the packets of a track once,
//! `filter` decides for each subscriber which of them it gets.

mod filter;
mod watch;

pub(super) use filter::{LayerFilter, Verdict};
pub use watch::{LayerWatch, Observed};

use super::Layer;

/// Spatial layers one encoding can have: what three bits number (RFC 9628 §4.2).
pub(super) const MAX_SPATIAL: usize = 8;

/// Temporal layers one encoding can have: the same.
pub(super) const MAX_TEMPORAL: usize = 8;

/// What the descriptor of one packet says of the layer frame it belongs to: the picture of one spatial layer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LayerFrame {
    /// Which spatial layer, the smallest first.
    pub spatial: u8,
    /// Which temporal layer; those above may be left out.
    pub temporal: u8,
    /// The packet is the first of its layer frame.
    pub begins: bool,
    /// The packet is the last of its layer frame.
    pub ends: bool,
    /// The layer frame is predicted from earlier pictures.
    pub refers_back: bool,
    /// The layer frame is predicted from smaller ones of the same picture.
    pub refers_below: bool,
    /// Nothing later in higher temporal layers is predicted from anything of those before this picture.
    pub lets_up: bool,
    /// Its number among the frames of its encoding, where a dependency descriptor counts them.
    pub number: Option<u16>,
}

/// Frames a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FrameRate(pub u32);

/// What is wanted of the layers inside an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InnerWish {
    /// Which spatial layer, where their sizes are not known.
    pub rank: Layer,
    /// Pixels that the picture should have; 0 where that is not known either.
    pub pixels: u64,
    /// Frames a second that are enough; `None` for all there are.
    pub rate: Option<FrameRate>,
}

impl InnerWish {
    /// Everything there is.
    pub const ALL: Self = Self { rank: Layer::HIGH, pixels: u64::MAX, rate: None };
}

/// A spatial layer counts as large enough with so many parts of the pixels that are wanted, and a temporal one as quick
/// enough: a layer a little too small is not worth one of four times the bitrate. More looks soft, less is never used.
pub(crate) const TOLERANCE: (u64, u64) = (4, 5);

/// How far up among the layers a subscriber is to get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) spatial: u8,
    pub(super) temporal: u8,
}

/// What is known of the layers inside the encodings of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// How many spatial layers there are; 0 where that is not known.
    spatial: u8,
    /// Pixels of each spatial layer; 0 where they are not known.
    pixels: [u32; MAX_SPATIAL],
    /// Frames in ten seconds of each temporal layer with those below it; 0 where they are not known.
    rates: [u32; MAX_TEMPORAL],
}

impl Shape {
    /// Nothing is known.
    pub const UNKNOWN: Self =
        Self { spatial: 0, pixels: [0; MAX_SPATIAL], rates: [0; MAX_TEMPORAL] };

    /// The layers that serve a wish.
    pub(super) fn target(&self, wish: InnerWish) -> Target {
        Target { spatial: self.spatial_for(wish), temporal: self.temporal_for(wish.rate) }
    }

    /// The smallest spatial layer that is large enough, else the largest.
    fn spatial_for(&self, wish: InnerWish) -> u8 {
        let highest = match self.spatial {
            0 => MAX_SPATIAL as u8 - 1,
            count => count - 1,
        };
        let known = self.pixels.iter().take(usize::from(self.spatial));
        let sized = self.spatial > 0 && wish.pixels > 0 && known.clone().all(|pixels| *pixels > 0);
        if !sized {
            // The best there is has no number of its own.
            let is_best = wish.rank == Layer::HIGH;
            return if is_best { highest } else { highest.min(wish.rank.index() as u8) };
        }
        let fills = |pixels: &u32| is_enough(u64::from(*pixels), wish.pixels);
        let filling = (0..).zip(known).find(|(_, pixels)| fills(pixels));
        filling.map_or(highest, |(spatial, _)| spatial)
    }

    /// The lowest temporal layer that is quick enough, else the highest.
    fn temporal_for(&self, rate: Option<FrameRate>) -> u8 {
        let highest = MAX_TEMPORAL as u8 - 1;
        let Some(FrameRate(wanted)) = rate else { return highest };
        let wanted = u64::from(wanted) * 10;
        let quick = |rate: &u32| *rate > 0 && is_enough(u64::from(*rate), wanted);
        (0..)
            .zip(&self.rates)
            .find(|(_, rate)| quick(rate))
            .map_or(highest, |(temporal, _)| temporal)
    }
}

fn is_enough(there: u64, wanted: u64) -> bool {
    u128::from(there) * u128::from(TOLERANCE.1) >= u128::from(wanted) * u128::from(TOLERANCE.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(pixels: &[u32], rates: &[u32]) -> Shape {
        let mut shape = Shape { spatial: pixels.len() as u8, ..Shape::default() };
        shape.pixels[..pixels.len()].copy_from_slice(pixels);
        shape.rates[..rates.len()].copy_from_slice(rates);
        shape
    }

    fn wish(rank: Layer, pixels: u64) -> InnerWish {
        InnerWish { rank, pixels, rate: None }
    }

    #[test]
    fn a_size_takes_the_smallest_spatial_layer_that_fills_it() {
        let three = shape(&[320 * 180, 640 * 360, 1280 * 720], &[]);
        let spatial = |pixels| three.target(wish(Layer::LOW, pixels)).spatial;
        assert_eq!([1, 320 * 180, 340 * 190, 640 * 360].map(spatial), [0, 0, 0, 1]);
        assert_eq!([700 * 500, 1280 * 720, u64::MAX].map(spatial), [2, 2, 2]);
    }

    #[test]
    fn a_stream_with_fewer_layers_than_announced_serves_a_quality_by_its_size() {
        let two = shape(&[320 * 180, 640 * 360], &[]);
        // Announced were 160×90, 320×180 and 640×360.
        assert_eq!(two.target(wish(Layer::LOW, 160 * 90)).spatial, 0);
        assert_eq!(two.target(wish(Layer::MID, 320 * 180)).spatial, 0);
        assert_eq!(two.target(InnerWish::ALL).spatial, 1);
    }

    #[test]
    fn without_sizes_a_quality_is_a_layer_by_its_rank() {
        let unknown = Shape::default();
        assert_eq!(unknown.target(wish(Layer::LOW, 160 * 90)).spatial, 0);
        assert_eq!(unknown.target(wish(Layer::MID, 0)).spatial, 1);
        assert_eq!(unknown.target(InnerWish::ALL).spatial, 7);
        let counted = shape(&[0, 0], &[]);
        assert_eq!(counted.target(InnerWish::ALL).spatial, 1);
    }

    #[test]
    fn a_frame_rate_takes_the_lowest_temporal_layer_that_is_quick_enough() {
        let three = shape(&[1], &[75, 150, 300]);
        let temporal = |rate| {
            three.target(InnerWish { rate: Some(FrameRate(rate)), ..InnerWish::ALL }).temporal
        };
        assert_eq!([1, 7, 8, 15, 24, 30].map(temporal), [0, 0, 0, 1, 2, 2]);
        assert_eq!(temporal(60), 7, "all there is");
        assert_eq!(three.target(InnerWish::ALL).temporal, 7);
        assert_eq!(Shape::default().temporal_for(Some(FrameRate(5))), 7, "nothing is known yet");
    }
}
