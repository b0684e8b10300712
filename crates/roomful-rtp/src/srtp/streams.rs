//! What an opener remembers of each stream, up to a bound.

use super::replay::Replay;
use crate::Ssrc;

/// Streams of one transport, in the order of their SSRCs.
#[derive(Debug)]
pub(super) struct Streams<const WORDS: usize> {
    streams: Vec<Stream<WORDS>>,
    /// Counts accepted packets, to tell which stream has been silent for longest.
    now: u64,
}

#[derive(Debug)]
struct Stream<const WORDS: usize> {
    ssrc: Ssrc,
    used: u64,
    replay: Replay<WORDS>,
}

/// Where a stream is, or would be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(Result<usize, usize>);

impl<const WORDS: usize> Streams<WORDS> {
    /// How many streams are remembered. Larger: more memory for whoever sends under ever new SSRCs. Smaller: a stream
    /// out of a large room is forgotten while it is silent, and with it how often its numbers wrapped; whoever hears as many
    /// streams as this from one server would not hear it again.
    pub(super) const MOST: usize = 1024;

    /// No stream, and no memory for any.
    pub(super) const fn new() -> Self {
        Self { streams: Vec::new(), now: 0 }
    }

    /// Where `ssrc` is; good until the next change.
    pub(super) fn find(&self, ssrc: Ssrc) -> Place {
        Place(self.streams.binary_search_by_key(&ssrc, |stream| stream.ssrc))
    }

    /// What was opened of the stream at `place`; `None` if nothing was.
    pub(super) fn replay(&self, place: Place) -> Option<&Replay<WORDS>> {
        self.streams.get(place.0.ok()?).map(|stream| &stream.replay)
    }

    /// Packet `index` of `ssrc`, found at `place`, is authentic. A new stream beyond the bound takes the place of the
    /// one silent for longest.
    pub(super) fn accept(&mut self, place: Place, ssrc: Ssrc, index: u64) {
        self.now += 1;
        let used = self.now;
        match place.0 {
            Ok(at) => {
                if let Some(stream) = self.streams.get_mut(at) {
                    stream.used = used;
                    stream.replay.accept(index);
                }
            }
            Err(at) => self.insert(at, Stream { ssrc, used, replay: Replay::new(index) }),
        }
    }

    /// Forgets a stream, if it is known.
    pub(super) fn forget(&mut self, ssrc: Ssrc) {
        if let Place(Ok(at)) = self.find(ssrc) {
            self.streams.remove(at);
        }
    }

    /// Streams remembered now.
    pub(super) const fn len(&self) -> usize {
        self.streams.len()
    }

    fn insert(&mut self, mut at: usize, stream: Stream<WORDS>) {
        if self.streams.len() >= Self::MOST {
            let silent = self.streams.iter().enumerate().min_by_key(|(_, stream)| stream.used);
            if let Some((silent, _)) = silent {
                self.streams.remove(silent);
                at -= usize::from(silent < at);
            }
        }
        self.streams.insert(at.min(self.streams.len()), stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(streams: &mut Streams<3>, ssrc: u32, index: u64) {
        let ssrc = Ssrc(ssrc);
        streams.accept(streams.find(ssrc), ssrc, index);
    }

    fn highest(streams: &Streams<3>, ssrc: u32) -> Option<u64> {
        streams.replay(streams.find(Ssrc(ssrc))).map(Replay::highest)
    }

    #[test]
    fn streams_are_kept_apart() {
        let mut streams = Streams::new();
        for ssrc in [5, 1, 9, 3] {
            accept(&mut streams, ssrc, u64::from(ssrc) * 100);
        }
        accept(&mut streams, 1, 101);
        assert_eq!(
            [1, 3, 5, 9].map(|ssrc| highest(&streams, ssrc)),
            [Some(101), Some(300), Some(500), Some(900)]
        );
        assert_eq!(highest(&streams, 4), None);
    }

    #[test]
    fn beyond_the_bound_the_one_silent_for_longest_goes() {
        let mut streams = Streams::new();
        let most = Streams::<3>::MOST as u32;
        for ssrc in 0..most {
            accept(&mut streams, ssrc * 2, 1);
        }
        accept(&mut streams, 0, 2);
        for (new, gone) in [(1, 2), (2_001, 4), (most * 4, 6)] {
            assert_eq!(highest(&streams, gone), Some(1));
            accept(&mut streams, new, 7);
            assert_eq!(highest(&streams, gone), None, "silent for longest");
            assert_eq!(highest(&streams, new), Some(7));
            assert_eq!(streams.len(), Streams::<3>::MOST);
        }
        assert_eq!(highest(&streams, 0), Some(2), "heard since");
        assert!(streams.streams.is_sorted_by_key(|stream| stream.ssrc));
    }

    #[test]
    fn a_stream_forgotten_is_new_again() {
        let mut streams = Streams::new();
        accept(&mut streams, 1, 70_000);
        accept(&mut streams, 2, 5);
        streams.forget(Ssrc(1));
        streams.forget(Ssrc(3));
        assert_eq!(highest(&streams, 1), None);
        assert_eq!(highest(&streams, 2), Some(5));
    }
}
