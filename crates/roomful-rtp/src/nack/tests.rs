use super::*;
use crate::testing::start_of_time;

const MILLISECOND: Duration = Duration::from_millis(1);
const TOLERANCE: Duration = NackGenerator::REORDER_TIME;

fn at(millis: u32) -> Instant {
    start_of_time() + MILLISECOND * millis
}

/// A generator that received `seqs`, all at the start of time.
fn after(seqs: impl IntoIterator<Item = u64>) -> NackGenerator {
    let mut generator = NackGenerator::new();
    for seq in seqs {
        generator.handle_packet(seq, at(0));
    }
    generator
}

fn asks(generator: &mut NackGenerator, now: Instant) -> Vec<u16> {
    generator.poll(now).collect()
}

#[test]
fn a_whole_stream_asks_for_nothing_and_holds_no_memory() {
    let mut generator = after(65_000..70_000);
    assert_eq!(generator.poll_timeout(), None);
    assert_eq!(asks(&mut generator, at(10_000)), []);
    assert_eq!(generator.missing.capacity(), 0);
    assert_eq!(generator.counts(), NackCounts::default());
}

#[test]
fn a_gap_is_asked_for_when_it_is_no_longer_merely_late() {
    let mut generator = after([10, 12]);
    assert_eq!(generator.poll_timeout(), Some(at(0) + TOLERANCE));
    assert_eq!(asks(&mut generator, at(9)), []);
    assert_eq!(asks(&mut generator, at(10)), [11]);
    assert_eq!(asks(&mut generator, at(10)), [], "once");
}

#[test]
fn a_gap_that_three_packets_overtook_is_asked_for_at_once() {
    let mut generator = after([10, 12, 13]);
    assert_eq!(asks(&mut generator, at(0)), []);
    generator.handle_packet(14, at(1));
    assert_eq!(generator.poll_timeout(), Some(at(1)));
    assert_eq!(asks(&mut generator, at(1)), [11]);
}

#[test]
fn of_a_burst_only_what_may_still_be_late_waits() {
    let mut generator = after([0, 9]);
    assert_eq!(asks(&mut generator, at(0)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(asks(&mut generator, at(10)), [7, 8]);
}

#[test]
fn a_packet_that_was_merely_late_is_never_asked_for() {
    let mut generator = after([10, 12]);
    assert_eq!(generator.handle_packet(11, at(5)), Place::Filled);
    assert_eq!(generator.poll_timeout(), None);
    assert_eq!(asks(&mut generator, at(10_000)), []);
    assert_eq!(generator.counts(), NackCounts { missing: 1, reordered: 1, ..Default::default() });
}

#[test]
fn a_repaired_packet_is_asked_for_no_more() {
    let mut generator = after([10, 12]);
    assert_eq!(asks(&mut generator, at(10)), [11]);
    assert_eq!(generator.handle_repair(11), Place::Filled);
    assert_eq!(generator.handle_repair(11), Place::NotMissed);
    assert_eq!(asks(&mut generator, at(10_000)), []);
    assert_eq!(generator.counts().repaired, 1);
}

#[test]
fn a_retransmission_of_old_or_new_packets_as_padding_moves_nothing() {
    let mut generator = after(0..10);
    assert_eq!(generator.handle_repair(5), Place::NotMissed);
    assert_eq!(generator.handle_repair(500), Place::NotMissed);
    assert_eq!(generator.handle_packet(10, at(0)), Place::Newest);
    assert_eq!(generator.missing(), 0);
}

/// When each request for one packet that never comes is made.
fn requests(rtt: Duration) -> Vec<Duration> {
    let mut generator = after([10, 12]);
    generator.set_rtt(rtt);
    let mut asked = Vec::new();
    while let Some(now) = generator.poll_timeout() {
        if !asks(&mut generator, now).is_empty() {
            asked.push(now - at(0));
        }
    }
    assert_eq!(generator.counts().given_up, 1);
    asked
}

#[test]
fn a_request_is_repeated_after_a_round_trip_and_ever_more_slowly() {
    let asked = requests(MILLISECOND * 50);
    let waits: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(waits[0], MILLISECOND * 60);
    assert!(waits.windows(2).all(|pair| pair[0] < pair[1]), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= NackGenerator::MAX_REPEAT), "{waits:?}");
}

#[test]
fn nothing_is_asked_for_more_than_ten_times() {
    assert_eq!(requests(Duration::ZERO).len(), usize::from(NackGenerator::MAX_ASKS));
}

#[test]
fn nothing_is_asked_for_that_its_sender_no_longer_has() {
    let asked = requests(MILLISECOND * 100);
    assert!(*asked.last().unwrap() < MILLISECOND * 1000, "{asked:?}");
    let slow = requests(Duration::MAX);
    assert!(slow.len() >= 2, "even over the slowest path, twice: {slow:?}");
}

#[test]
fn a_keyframe_ends_all_hope_for_what_was_before_it() {
    let mut generator = after([0, 5, 10]);
    generator.handle_keyframe(7);
    assert_eq!(asks(&mut generator, at(10)), [7, 8, 9]);
    assert_eq!(generator.counts().given_up, 5);
}

#[test]
fn too_much_loss_asks_for_a_keyframe_and_for_the_newest_packets_only() {
    let most = NackGenerator::MAX_MISSING as u64;
    let mut generator = after([0, most + 1]);
    assert!(!generator.poll_keyframe_request());
    generator.handle_packet(most + 7, at(0));
    assert!(generator.poll_keyframe_request());
    assert!(!generator.poll_keyframe_request(), "says so once");
    assert_eq!(generator.missing(), NackGenerator::MAX_MISSING);
    assert_eq!(asks(&mut generator, at(10)).first(), Some(&6));
    assert_eq!(generator.counts().given_up, 5);
}

#[test]
fn one_gap_larger_than_all_that_may_be_missing_is_cut_too() {
    let mut generator = after([0, 3, NackGenerator::MAX_JUMP + 3]);
    assert!(generator.poll_keyframe_request());
    assert_eq!(generator.missing(), NackGenerator::MAX_MISSING);
    let counts = generator.counts();
    assert_eq!(counts.missing - counts.given_up, generator.missing() as u64);
}

#[test]
fn a_jump_either_way_takes_the_stream_up_afresh() {
    for target in [10 + NackGenerator::MAX_JUMP + 3, 6] {
        let mut generator = after([NackGenerator::MAX_JUMP + 8, NackGenerator::MAX_JUMP + 10]);
        let jump = if target == 6 { 6 } else { target + NackGenerator::MAX_JUMP };
        assert_eq!(generator.handle_packet(jump, at(1)), Place::Restart, "to {jump}");
        assert_eq!(generator.poll_timeout(), Some(at(1)), "though nothing is missing");
        assert!(generator.poll_keyframe_request());
        assert_eq!(generator.missing(), 0);
        assert_eq!(generator.handle_packet(jump + 1, at(2)), Place::Newest);
        assert_eq!(generator.poll_timeout(), None);
    }
}

#[test]
fn one_poll_fills_one_datagram_and_the_next_goes_on_behind_it() {
    let mut generator = after([0, 301]);
    let mut asked = Vec::new();
    for expected in [128, 128, 44] {
        let seqs = asks(&mut generator, at(10));
        assert_eq!(seqs.len(), expected);
        asked.extend(seqs);
    }
    assert!(asked.iter().copied().eq(1..=300));
    assert_eq!(generator.poll_timeout(), Some(at(10 + 110)));
}

#[test]
fn what_is_not_taken_out_stays_due() {
    let mut generator = after([0, 5]);
    assert_eq!(generator.poll(at(10)).next(), Some(1));
    assert_eq!(generator.poll_timeout(), Some(at(0)));
    assert_eq!(asks(&mut generator, at(10)), [2, 3, 4]);
}

#[test]
fn numbers_go_out_as_on_the_wire() {
    let mut generator = after([65_535, 65_538]);
    assert_eq!(asks(&mut generator, at(10)), [0, 1]);
}

/// A sender, a path that loses and reorders, and a generator: whatever is lost is asked for, whatever
/// is answered stays answered, and the books balance.
#[test]
fn over_a_bad_path_nearly_everything_is_repaired_and_the_books_balance() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut generator = NackGenerator::new();
        generator.set_rtt(MILLISECOND * 50);
        let mut answers: Vec<(u32, u64)> = Vec::new();
        let mut delayed: Vec<(u32, u64)> = Vec::new();
        for now in 0..20_000_u32 {
            let is_new = now < 18_000 && now % 4 == 0;
            if is_new && random.u8(..100) >= 10 {
                let late = if random.u8(..100) < 5 { random.u32(..30) } else { 0 };
                delayed.push((now + late, 65_000 + u64::from(now / 4)));
            }
            delayed.retain(|&(due, seq)| {
                if due <= now {
                    generator.handle_packet(seq, at(now));
                }
                due > now
            });
            answers.retain(|&(due, seq)| {
                if due <= now {
                    generator.handle_repair(seq);
                }
                due > now
            });
            for seq in generator.poll(at(now)) {
                if random.u8(..100) >= 19 {
                    let behind = (65_000 + now / 4).wrapping_sub(u32::from(seq)) & 0xffff;
                    answers.push((now + 50, u64::from(65_000 + now / 4 - behind)));
                }
            }
        }
        let counts = generator.counts();
        assert_eq!(generator.missing(), 0, "seed {seed}");
        assert_eq!(counts.missing, counts.repaired + counts.reordered + counts.given_up);
        assert!(counts.repaired > 300, "seed {seed}: {counts:?}");
        assert!(counts.given_up <= 2, "seed {seed}: {counts:?}");
        assert!(counts.asked < counts.repaired * 3 / 2, "seed {seed}: {counts:?}");
    }
}
