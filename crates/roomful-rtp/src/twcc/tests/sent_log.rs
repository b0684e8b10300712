use std::collections::BTreeMap;

use super::*;

/// What `sender` learns from everything `receiver` has to say.
fn learn(sender: &mut SentLog, receiver: &mut ArrivalLog, now: Instant) -> Vec<SentPacket> {
    let bytes = feedback(receiver, now);
    read(&bytes).flat_map(|packet| sender.handle_feedback(&packet).collect::<Vec<_>>()).collect()
}

fn send(sender: &mut SentLog, count: u64) {
    for n in 0..count {
        sender.sent(SIZE, at(n));
    }
}

#[test]
fn each_packet_is_told_with_its_size_its_departure_and_its_fate() {
    let mut sender = SentLog::new();
    let seqs: Vec<_> = (0..3).map(|n| sender.sent(100 + n, at(n as u64))).collect();
    assert_eq!(sender.next_seq(), seqs[2] + 1);
    let mut receiver = log_of([(seqs[0], 50), (seqs[2], 60)]);
    let told = learn(&mut sender, &mut receiver, at(100));
    let [first, second, third] = told[..] else { panic!("{told:?}") };
    assert_eq!((first.seq, first.sent, first.size), (seqs[0], at(0), 100));
    assert_eq!((second.seq, second.sent, second.size), (seqs[1], at(1), 101));
    assert_eq!(second.fate, Fate::Lost);
    let (Fate::Arrived(a), Fate::Arrived(b)) = (first.fate, third.fate) else { panic!("{told:?}") };
    assert_eq!(b.since(a), 40);
}

#[test]
fn a_packet_is_lost_once_and_arrives_once_however_often_that_is_said() {
    let mut sender = SentLog::new();
    send(&mut sender, 4);
    let mut receiver = log_of([(0, 50), (2, 50)]);
    assert_eq!(learn(&mut sender, &mut receiver, at(100)).len(), 3);
    receiver.record(1, SIZE, at(110));
    receiver.record(3, SIZE, at(110));
    let told = learn(&mut sender, &mut receiver, at(200));
    let [late, last] = told[..] else { panic!("{told:?}") };
    assert!(matches!((late.seq, late.fate), (1, Fate::ArrivedLate(_))));
    assert!(matches!((last.seq, last.fate), (3, Fate::Arrived(_))));
    let mut liar = log_of([(0, 0), (1, 0), (3, 0)]);
    assert_eq!(learn(&mut sender, &mut liar, at(300)), [], "nothing of it is news");
}

#[test]
fn what_was_never_sent_is_not_believed() {
    let mut sender = SentLog::new();
    send(&mut sender, 10);
    for seqs in [10..20_u16, 30_000..30_010, 50_000..50_010] {
        let mut liar = log_of(seqs.map(|seq| (seq, 0)));
        assert_eq!(learn(&mut sender, &mut liar, at(100)), []);
    }
    assert_eq!(sender.in_flight(), 10 * SIZE as u64);
    let mut before_any = SentLog::new();
    assert_eq!(learn(&mut before_any, &mut log_of([(0, 0)]), at(0)), []);
}

#[test]
fn in_flight_is_what_was_sent_after_the_newest_that_arrived() {
    let mut sender = SentLog::new();
    send(&mut sender, 10);
    assert_eq!(sender.in_flight(), 10_000);
    learn(&mut sender, &mut log_of([(0, 0), (6, 0)]), at(100));
    assert_eq!(sender.in_flight(), 3000);
    // Feedback that never comes does not count for ever.
    for n in 0..50_000 {
        sender.sent(SIZE, at(10 * n));
    }
    assert_eq!(sender.in_flight(), (SentLog::SMALLEST * SIZE) as u64);
}

#[test]
fn memory_grows_only_while_packets_are_awaited() {
    let mut idle = SentLog::new();
    assert_eq!(idle.heap_size(), 0);
    idle.sent(SIZE, at(0));
    assert_eq!(idle.heap_size(), 2048);

    // 100 packets a second are forgotten after 2.5 s: nothing to keep.
    let mut slow = SentLog::new();
    (0..1000).for_each(|n| _ = slow.sent(SIZE, at(10 * n)));
    assert_eq!(slow.heap_size(), 2048);

    // 1000 packets a second without feedback.
    let mut fast = SentLog::new();
    send(&mut fast, 10_000);
    assert_eq!(fast.heap_size(), 8192);

    let mut faster = SentLog::new();
    (0..10_000).for_each(|n| _ = faster.sent(SIZE, at(n / 100)));
    assert_eq!(faster.heap_size(), 16_384);
}

#[test]
fn growing_forgets_nothing() {
    let mut sender = SentLog::new();
    send(&mut sender, 1000);
    let mut receiver = log_of((0..1000).map(|seq| (seq, 2000)));
    let told = learn(&mut sender, &mut receiver, at(2100));
    assert!(
        told.iter()
            .map(|packet| (packet.seq, packet.sent))
            .eq((0..1000).map(|seq| (seq, at(seq.into()))))
    );
    assert_eq!(sender.in_flight(), 0);
}

/// Both halves over a path that loses, delays, overtakes and doubles, with feedback lost too, for
/// long enough that every number comes round twice. The truth is kept beside it.
#[test]
fn over_a_bad_path_no_packet_is_told_otherwise_than_it_fared() {
    for seed in 0..8 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut sender, mut receiver) = (SentLog::new(), ArrivalLog::default());
        let mut way: BTreeMap<(u64, u64), u16> = BTreeMap::new();
        let mut truth: BTreeMap<u64, Option<u64>> = BTreeMap::new();
        let (mut sent, mut told, mut lost) = (0_u64, 0_u64, 0_u64);
        let mut clock = None;
        for now in 0..140_000_u64 {
            let seq = sender.sent(SIZE, at(now));
            assert_eq!(seq, sent as u16);
            truth.insert(sent, None);
            if random.u8(..20) > 0 {
                let delay = 20 + random.u64(..10) + if random.u8(..50) == 0 { 90 } else { 0 };
                way.insert((now + delay, sent), seq);
                if random.u8(..50) == 0 {
                    way.insert((now + delay + 30, sent), seq);
                }
            }
            sent += 1;
            while let Some(entry) = way.first_entry().filter(|entry| entry.key().0 <= now) {
                let ((_, n), seq) = entry.remove_entry();
                truth.entry(n).and_modify(|arrival| *arrival = arrival.or(Some(now)));
                receiver.record(seq, SIZE, at(now));
            }
            truth.remove(&sent.wrapping_sub(3000));
            if receiver.poll_timeout().is_none_or(|due| due > at(now)) {
                continue;
            }
            let bytes = feedback(&mut receiver, at(now));
            if random.u8(..10) == 0 {
                continue;
            }
            for packet in read(&bytes) {
                for SentPacket { seq, sent: left, fate, .. } in sender.handle_feedback(&packet) {
                    let n = sent - u64::from((sent as u16).wrapping_sub(seq));
                    assert_eq!(left, at(n), "seed {seed}");
                    match fate {
                        Fate::Lost => lost += 1,
                        Fate::Arrived(told_at) | Fate::ArrivedLate(told_at) => {
                            let arrival = truth[&n].expect("it did arrive");
                            let (zero, zero_at) = *clock.get_or_insert((told_at, arrival));
                            let elapsed = i64::from(told_at.since(zero));
                            assert_eq!(elapsed, 4 * (arrival as i64 - zero_at as i64));
                            told += 1;
                        }
                    }
                }
            }
        }
        // One packet in twenty is lost. So is one feedback in ten, but what a packet that comes late
        // repeats makes up for some.
        assert!((85..95).contains(&(told * 100 / sent)), "{told} of {sent}, seed {seed}");
        assert!((4..9).contains(&(lost * 100 / sent)), "{lost} of {sent}, seed {seed}");
    }
}
