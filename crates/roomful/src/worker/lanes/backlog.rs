//! What waits to be written to one lane.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write};
use std::time::{Duration, Instant};

use roomful_rtp::framing::{LENGTH_BYTES, frame_length};

/// Bytes that may wait for one lane: a keyframe or two. More holds more memory for each slow client; less cuts a keyframe
/// that a fast one would have taken in time.
const MAX_BYTES: usize = 256 * 1024;

/// Media that waited longer is not worth sending: a conversation has gone on, and what was lost is asked for again.
/// Longer, and a slow client hears and sees the past (goal R8 allows 300 ms); shorter, and a link that pauses for one
/// retransmission of TCP's loses what it could still have carried.
const MAX_AGE: Duration = Duration::from_millis(300);

/// Frames handed to the system in one call. More gains nothing, the calls being few already.
const MAX_SLICES: usize = 32;

/// Bounded and lossy: media goes first and the oldest of it before the rest, since checks and handshakes are few and
/// the connection hangs on them. A frame that was begun is finished, or the stream could not be read any more.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    frames: VecDeque<Frame>,
    bytes: usize,
    /// Bytes of the first frame that were written.
    written: usize,
    dropped: u64,
}

#[derive(Debug)]
struct Frame {
    /// With its length before it.
    bytes: Vec<u8>,
    is_media: bool,
    since: Instant,
}

impl Backlog {
    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Datagrams that wait.
    pub(super) fn len(&self) -> usize {
        self.frames.len()
    }

    /// Datagrams dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Queues a datagram.
    pub(super) fn push(&mut self, datagram: &[u8], now: Instant) {
        let Some(length) = frame_length(datagram.len()) else {
            self.dropped += 1;
            return;
        };
        let size = LENGTH_BYTES + datagram.len();
        let mut bytes = Vec::with_capacity(size);
        bytes.extend_from_slice(&length);
        bytes.extend_from_slice(datagram);
        self.append(bytes, now);
    }

    /// Queues what is left of frames of which the first `written` bytes in all were written.
    pub(super) fn push_rest(&mut self, frames: &[u8], written: usize, now: Instant) {
        let mut begin = 0;
        while let Some(length) = frames.get(begin..).and_then(|rest| rest.first_chunk()) {
            let end = begin + LENGTH_BYTES + usize::from(u16::from_be_bytes(*length));
            if end > written
                && let Some(frame) = frames.get(begin..end)
            {
                if self.frames.is_empty() {
                    self.written = written.saturating_sub(begin);
                }
                self.append(frame.to_vec(), now);
            }
            begin = end;
        }
    }

    /// Writes as much as `writer` takes, without media that has become too old.
    ///
    /// # Errors
    /// As `writer` says; `WouldBlock` is none.
    pub(super) fn write_to(&mut self, writer: &mut impl Write, now: Instant) -> io::Result<()> {
        self.drop_stale(now);
        while !self.frames.is_empty() {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut skip = self.written;
            for (slice, frame) in slices.iter_mut().zip(&self.frames) {
                *slice = IoSlice::new(frame.bytes.get(skip..).unwrap_or_default());
                skip = 0;
            }
            match writer.write_vectored(&slices[..self.frames.len().min(MAX_SLICES)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn append(&mut self, bytes: Vec<u8>, now: Instant) {
        // RFC 7983 §7: RTP and RTCP begin so.
        let is_media = bytes.get(LENGTH_BYTES).is_some_and(|first| (128..=191).contains(first));
        while self.bytes + bytes.len() > MAX_BYTES {
            if !self.drop_one(is_media) {
                self.dropped += 1;
                return;
            }
        }
        self.bytes += bytes.len();
        self.frames.push_back(Frame { bytes, is_media, since: now });
    }

    /// Drops the oldest frame that may go; anything but media only to make room for its kind.
    fn drop_one(&mut self, for_media: bool) -> bool {
        let begun = usize::from(self.written > 0);
        let mut droppable = self.frames.iter().enumerate().skip(begun);
        let media = droppable.clone().find(|(_, frame)| frame.is_media);
        let chosen = media.or_else(|| droppable.next().filter(|_| !for_media));
        let Some((index, _)) = chosen else { return false };
        self.remove(index);
        true
    }

    fn drop_stale(&mut self, now: Instant) {
        let mut index = usize::from(self.written > 0);
        while let Some(frame) = self.frames.get(index) {
            if now.saturating_duration_since(frame.since) <= MAX_AGE {
                // What follows is younger.
                return;
            }
            if frame.is_media {
                self.remove(index);
            } else {
                index += 1;
            }
        }
    }

    fn remove(&mut self, index: usize) {
        if let Some(frame) = self.frames.remove(index) {
            self.bytes -= frame.bytes.len();
            self.dropped += 1;
        }
    }

    /// So many bytes from the front were written.
    fn advance(&mut self, written: usize) {
        self.written += written;
        while let Some(length) = self.frames.front().map(|frame| frame.bytes.len())
            && self.written >= length
        {
            self.frames.pop_front();
            self.bytes -= length;
            self.written -= length;
        }
    }
}

#[cfg(test)]
mod tests {
    use roomful_rtp::framing::FrameReader;

    use super::*;

    const MEDIA: u8 = 0x80;
    const CHECK: u8 = 0x01;

    /// Takes so many bytes, then no more.
    struct Pipe {
        room: usize,
        taken: Vec<u8>,
    }

    impl Write for Pipe {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.room == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let taken = bytes.len().min(self.room);
            self.taken.extend_from_slice(&bytes[..taken]);
            self.room -= taken;
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A datagram of that kind, which can be told from others.
    fn datagram(kind: u8, number: usize, length: usize) -> Vec<u8> {
        let mut datagram = vec![kind; length];
        datagram[1..3].copy_from_slice(&(number as u16).to_be_bytes());
        datagram
    }

    /// Kinds and numbers of what arrives when everything is written in pieces of `room` bytes.
    fn drained(backlog: &mut Backlog, room: usize, now: Instant) -> Vec<(u8, u16)> {
        let mut pipe = Pipe { room, taken: Vec::new() };
        while !backlog.is_empty() {
            pipe.room = room;
            backlog.write_to(&mut pipe, now).unwrap();
        }
        let mut found = Vec::new();
        let each = |one: &mut [u8]| found.push((one[0], u16::from_be_bytes([one[1], one[2]])));
        FrameReader::default().read(&mut pipe.taken, each).unwrap();
        found
    }

    #[test]
    fn everything_arrives_in_order_however_little_is_taken_at_a_time() {
        let now = Instant::now();
        for room in [1, 7, 100, 1_000, 100_000] {
            let mut backlog = Backlog::default();
            for number in 0..40 {
                backlog.push(&datagram(MEDIA, number, 50 + number), now);
            }
            assert!(drained(&mut backlog, room, now).into_iter().eq((0..40).map(|n| (MEDIA, n))));
            assert_eq!((backlog.bytes, backlog.written, backlog.dropped()), (0, 0, 0));
        }
    }

    #[test]
    fn what_was_written_before_it_came_here_is_not_written_again() {
        let now = Instant::now();
        let mut frames = Vec::new();
        for number in 0..5 {
            let one = datagram(MEDIA, number, 20);
            frames.extend(frame_length(one.len()).unwrap());
            frames.extend(one);
        }
        for written in 0..=frames.len() {
            let mut backlog = Backlog::default();
            backlog.push_rest(&frames, written, now);
            let mut pipe = Pipe { room: usize::MAX, taken: frames[..written].to_vec() };
            backlog.write_to(&mut pipe, now).unwrap();
            assert!(pipe.taken == frames, "{written} bytes were written before");
        }
    }

    #[test]
    fn too_much_media_drops_the_oldest_and_no_checks() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        for number in 0..1_000 {
            let kind = if number % 100 == 0 { CHECK } else { MEDIA };
            backlog.push(&datagram(kind, number, 1_000), now);
            assert!(backlog.bytes <= MAX_BYTES);
        }
        let left = drained(&mut backlog, 1_000_000, now);
        assert_eq!(left.iter().filter(|(kind, _)| *kind == CHECK).count(), 10);
        let media: Vec<u16> =
            left.iter().filter(|(kind, _)| *kind == MEDIA).map(|(_, number)| *number).collect();
        assert!(media.len() > 240, "{}", media.len());
        let newest = (0..1_000).filter(|number| number % 100 != 0).skip(990 - media.len());
        assert!(media.iter().copied().eq(newest), "the newest are left");
        assert_eq!(backlog.dropped() as usize, 1_000 - left.len());
    }

    #[test]
    fn media_makes_no_room_for_itself_among_checks() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        for number in 0..1_000 {
            backlog.push(&datagram(CHECK, number, 1_000), now);
        }
        let dropped = backlog.dropped();
        backlog.push(&datagram(MEDIA, 1, 1_000), now);
        assert_eq!(backlog.dropped(), dropped + 1);
        let left = drained(&mut backlog, 1_000_000, now);
        assert_eq!(left.last(), Some(&(CHECK, 999)), "the newest check is there");
    }

    #[test]
    fn a_frame_that_was_begun_is_finished_though_it_is_old_and_the_queue_full() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        backlog.push(&datagram(MEDIA, 0, 1_000), start);
        let mut pipe = Pipe { room: 10, taken: Vec::new() };
        backlog.write_to(&mut pipe, start).unwrap();
        for number in 1..1_000 {
            backlog.push(&datagram(MEDIA, number, 1_000), start);
        }
        let late = start + 2 * MAX_AGE;
        pipe.room = usize::MAX;
        backlog.write_to(&mut pipe, late).unwrap();
        let mut found = Vec::new();
        let each = |one: &mut [u8]| found.push(one.to_vec());
        FrameReader::default().read(&mut pipe.taken, each).unwrap();
        assert_eq!(found, [datagram(MEDIA, 0, 1_000)], "the rest was too old");
    }

    #[test]
    fn media_that_waited_too_long_is_left_out_and_a_check_is_not() {
        let start = Instant::now();
        let mut backlog = Backlog::default();
        backlog.push(&datagram(CHECK, 1, 100), start);
        backlog.push(&datagram(MEDIA, 2, 100), start);
        backlog.push(&datagram(CHECK, 3, 100), start);
        let late = start + MAX_AGE + Duration::from_millis(1);
        backlog.push(&datagram(MEDIA, 4, 100), late);
        assert_eq!(drained(&mut backlog, 1_000, late), [(CHECK, 1), (CHECK, 3), (MEDIA, 4)]);
        assert_eq!(backlog.dropped(), 1);
    }
}
