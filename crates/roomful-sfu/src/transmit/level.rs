//! Which packets to pad so that the kernel can segment them as one message.

/// The share of its own length that a packet may grow by, as a divisor: 3 %.
///
/// A message costs the kernel about 2 µs, a datagram in one that is cut anyway 0.1 to 0.5 (decision 0078), and
/// encoders split a frame into packets that differ by a byte: padding them all by that byte is worth two thirds
/// of the cost. A smaller divisor joins packets of different frames, too, but takes bits from the picture
/// where the downlink is full; a larger one leaves frames whose packets carry different extensions in pieces.
const PADDING_SHARE: usize = 32;

/// The most padding a packet can carry: its last byte counts it (RFC 3550 §5.1).
const MAX_PADDING: usize = 255;

/// Raises lengths, in bytes, of packets that go to one destination in this order, so that they leave in as few
/// messages as possible: all segments of a message have one length, and only its last may be shorter.
///
/// The caller pads (RFC 3550 §5.1) each packet whose length grew before it seals it; none grows by more than 3 %. The
/// lengths depend on the packets alone, so one call serves every subscriber of a track.
pub fn level(lengths: &mut [usize]) {
    let mut rest = lengths;
    while !rest.is_empty() {
        let (message, others) = rest.split_at_mut(message_at(rest));
        let segment = message.iter().copied().max().unwrap_or(0);
        if let Some((_, full)) = message.split_last_mut() {
            full.fill(segment);
        }
        rest = others;
    }
}

/// How many of the first packets can be one message. Every beginning and every end of such a run is one, too, so that
/// taking the longest each time makes the fewest.
fn message_at(lengths: &[usize]) -> usize {
    let mut segment = 0;
    // What every packet but the last can be raised to.
    let mut reach = usize::MAX;
    let mut last = None;
    for (index, length) in lengths.iter().copied().enumerate() {
        reach = last.map_or(reach, |last| reach.min(padded(last)));
        segment = segment.max(length);
        if segment > reach {
            return index;
        }
        last = Some(length);
    }
    lengths.len()
}

/// The longest a packet of this length may become.
fn padded(length: usize) -> usize {
    length + (length / PADDING_SHARE).min(MAX_PADDING)
}

#[cfg(test)]
mod tests {
    use super::super::TransmitBuffer;
    use super::*;

    fn levelled(lengths: &[usize]) -> Vec<usize> {
        let mut lengths = lengths.to_vec();
        level(&mut lengths);
        lengths
    }

    fn messages(lengths: &[usize]) -> usize {
        let mut buffer = TransmitBuffer::new();
        let [from, to] = [1, 2].map(|port| std::net::SocketAddr::from(([127, 0, 0, 1], port)));
        let route = crate::Route::udp(from, to);
        for length in lengths {
            assert!(buffer.push(route, &vec![0; *length]));
        }
        let mut batches = Vec::new();
        buffer.batch_into(&mut batches, true);
        batches.len()
    }

    /// The fewest messages any padding within the bounds allows, by trying every way to cut.
    fn fewest(lengths: &[usize]) -> usize {
        let is_message = |run: &[usize]| {
            let longest = run.iter().copied().max().unwrap_or(0);
            run.split_last().is_none_or(|(_, full)| full.iter().all(|one| padded(*one) >= longest))
        };
        let mut best = vec![0; lengths.len() + 1];
        for end in 1..=lengths.len() {
            best[end] = (0..end)
                .filter(|start| is_message(&lengths[*start..end]))
                .map(|start| best[start] + 1)
                .min()
                .unwrap();
        }
        best[lengths.len()]
    }

    #[test]
    fn a_frame_as_an_encoder_splits_it_becomes_one_message() {
        let frame = [1160, 1160, 1160, 1161, 1161, 700];
        assert_eq!(messages(&frame), 2);
        assert_eq!(levelled(&frame), [1161, 1161, 1161, 1161, 1161, 700]);
        assert_eq!(messages(&levelled(&frame)), 1);
    }

    #[test]
    fn packets_of_one_length_and_lone_packets_stay_as_they_are() {
        for lengths in [&[][..], &[100], &[100, 100, 100], &[1200, 1200, 30], &[100, 200, 400]] {
            assert_eq!(levelled(lengths), lengths);
        }
    }

    #[test]
    fn frames_of_different_sizes_are_levelled_each_for_itself() {
        let frames = [1100, 1101, 600, 800, 801];
        assert_eq!(levelled(&frames), [1101, 1101, 600, 801, 801]);
        assert_eq!(messages(&levelled(&frames)), 2);
    }

    #[test]
    fn no_other_padding_within_the_bounds_makes_fewer_messages() {
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let base = random.usize(1..1200);
            let spread = random.usize(1..=base.div_ceil(4));
            let lengths: Vec<usize> =
                (0..random.usize(0..12)).map(|_| base + random.usize(..spread)).collect();
            let raised = levelled(&lengths);
            assert_eq!(messages(&raised), fewest(&lengths), "{lengths:?}");
            for (before, after) in lengths.iter().zip(&raised) {
                assert!(after >= before && *after <= padded(*before), "{lengths:?}: {raised:?}");
            }
        }
    }
}
