use super::*;

#[test]
fn feedback_says_when_each_packet_arrived_to_a_quarter_of_a_millisecond() {
    let mut log = log_of([(65_534, 0), (65_535, 10), (1, 11), (2, 11)]);
    let bytes = feedback(&mut log, at(100));
    let first = statuses(&bytes)[0].1.unwrap();
    let told: Vec<_> =
        statuses(&bytes).into_iter().map(|(n, at)| (n, at.map(|at| at.since(first)))).collect();
    let expected = [(65_534, Some(0)), (65_535, Some(40)), (0, None), (1, Some(44)), (2, Some(44))];
    assert_eq!(told, expected);
}

/// Worked out by hand from the draft: 16384 ticks are 64 units of reference time.
#[test]
fn feedback_is_written_as_in_its_draft() {
    let mut log = log_of([(7, 0), (8, 1), (10, 2)]);
    #[rustfmt::skip]
    let expected = [
        0xaf, 205, 0, 6, 0, 0, 0, 1, 0, 0, 0, 2,
        0, 7, 0, 4, 0, 0, 64, 0,
        0xb4, 0x00, 0, 4, 4,
        0, 0, 3,
    ];
    assert_eq!(feedback(&mut log, at(100)), expected);
    log.record(11, SIZE, at(101));
    assert_eq!(feedback(&mut log, at(200))[19], 1, "numbered");
}

#[test]
fn what_was_reported_is_not_reported_again() {
    let mut log = log_of((0..10).map(|seq| (seq, 0)));
    assert_eq!(seqs_arrived(&feedback(&mut log, at(100))).len(), 10);
    assert!(feedback(&mut log, at(200)).is_empty());
    log.record(3, SIZE, at(201));
    assert!(feedback(&mut log, at(300)).is_empty(), "a duplicate is no news");
    assert_eq!(log.poll_timeout(), None);
}

#[test]
fn a_packet_reported_lost_that_comes_after_all_is_reported_with_what_follows_it() {
    let mut log = log_of([(0, 0), (2, 0), (3, 0)]);
    assert_eq!(seqs_arrived(&feedback(&mut log, at(100))), [0, 2, 3]);
    log.record(1, SIZE, at(101));
    assert!(log.poll_timeout().is_some());
    let bytes = feedback(&mut log, at(200));
    assert_eq!(seqs_arrived(&bytes), [1, 2, 3]);
    let told = statuses(&bytes);
    assert_eq!(told[1].1.unwrap().since(told[0].1.unwrap()), -404);
}

#[test]
fn arrivals_too_far_apart_for_one_packet_are_told_in_two() {
    let mut log = log_of([(0, 0), (1, 8191), (2, 16_383)]);
    let bytes = feedback(&mut log, at(20_000));
    let counts: Vec<_> = read(&bytes).map(|packet| (packet.first_seq, packet.count)).collect();
    assert_eq!(counts, [(0, 2), (2, 1)]);
    let told = statuses(&bytes);
    assert_eq!(told[2].1.unwrap().since(told[0].1.unwrap()), 16_383 * 4);
}

#[test]
fn what_does_not_fit_goes_into_the_next_datagram() {
    let mut log = log_of((0..600).map(|seq| (seq * 3, u64::from(seq))));
    let mut told = Vec::new();
    let mut datagrams = 0;
    while log.poll_timeout().is_some_and(|due| due <= at(1000)) {
        let mut buffer = [0; 200];
        let mut writer = RtcpWriter::new(&mut buffer);
        assert_eq!(log.write_feedback(US, THEM, &mut writer, at(1000)), 1);
        let len = writer.len();
        told.extend(statuses(&buffer[..len]));
        datagrams += 1;
    }
    // Only the last 1024 numbers of 1798 were still remembered.
    assert!(told.iter().map(|(seq, _)| *seq).eq(774..1798), "{datagrams} datagrams");
    assert!(told.iter().all(|(seq, at)| at.is_some() == (seq % 3 == 0)));
}

#[test]
fn no_room_at_all_loses_nothing() {
    let mut log = log_of([(0, 0)]);
    let mut buffer = [0; 23];
    assert_eq!(log.write_feedback(US, THEM, &mut RtcpWriter::new(&mut buffer), at(60)), 0);
    assert_eq!(seqs_arrived(&feedback(&mut log, at(61))), [0]);
}

#[test]
fn a_jump_of_any_size_costs_one_window() {
    for jump in [1, 1023, 1024, 5000, 32_767, 32_768, 60_000] {
        let mut log = log_of([(0, 0), (jump, 1)]);
        let bytes = feedback(&mut log, at(100));
        assert!(statuses(&bytes).len() <= ArrivalLog::WINDOW, "{jump}");
        assert!(bytes.len() <= 40, "{jump}: {} bytes", bytes.len());
        if jump <= 32_767 {
            assert_eq!(seqs_arrived(&bytes).last(), Some(&jump), "{jump}");
        } else {
            assert_eq!(seqs_arrived(&bytes), [0], "{jump}: long ago");
        }
    }
}

#[test]
fn the_statuses_take_the_fewest_bytes_that_their_pattern_allows() {
    let chunks = |arrivals: &[bool]| {
        let arrived = arrivals.iter().zip(0_u16..).filter(|(arrived, _)| **arrived);
        let mut log = log_of(arrived.map(|(_, seq)| (seq, 0)));
        let bytes = feedback(&mut log, at(100));
        let feedback = read(&bytes).next().unwrap();
        assert_eq!(usize::from(feedback.count), arrivals.len());
        let deltas = arrivals.iter().filter(|arrived| **arrived).count();
        assert_eq!(bytes.len() % 4, 0);
        let padding = usize::from(bytes[0] >> 5 & 1) * usize::from(*bytes.last().unwrap());
        (bytes.len() - 20 - deltas - padding) / 2
    };
    assert_eq!(chunks(&[true; 1000]), 1);
    assert_eq!(chunks(&[true, false, true]), 1);
    assert_eq!(chunks(&[true, false].repeat(7)[..13]), 1);
    let gap = [vec![true; 100], vec![false; 100], vec![true; 100]].concat();
    assert_eq!(chunks(&gap), 3);
    let every_other: Vec<_> = (0..141).map(|n| n % 2 == 0).collect();
    assert_eq!(chunks(&every_other), 11);
}

#[test]
fn feedback_comes_ten_times_a_second_of_a_fast_stream() {
    let mut log = ArrivalLog::default();
    let mut sent = Vec::new();
    for millis in 0..2000 {
        log.record(millis as u16, 1200, at(millis));
        if log.poll_timeout().is_some_and(|due| due <= at(millis)) {
            feedback(&mut log, at(millis));
            sent.push(millis);
        }
    }
    assert_eq!(sent[0], 50, "soon after the first packets");
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] == 100), "{sent:?}");
}

#[test]
fn feedback_takes_no_more_than_four_a_second_of_sound_alone() {
    let mut log = ArrivalLog::default();
    let mut sent = Vec::new();
    for millis in (0..4000).step_by(20) {
        log.record((millis / 20) as u16, 100, at(millis));
        if log.poll_timeout().is_some_and(|due| due <= at(millis)) {
            feedback(&mut log, at(millis));
            sent.push(millis);
        }
    }
    assert!((14..=18).contains(&sent.len()), "{sent:?}");
    assert!(sent.windows(2).skip(1).all(|pair| pair[1] - pair[0] >= 250), "{sent:?}");
}

#[test]
fn a_backlog_hastens_feedback() {
    let mut log = log_of([(0, 0)]);
    feedback(&mut log, at(50));
    for seq in 1..=255 {
        log.record(seq, SIZE, at(51));
    }
    assert_eq!(log.poll_timeout(), Some(at(150)));
    log.record(256, SIZE, at(51));
    assert_eq!(log.poll_timeout(), Some(at(101)));
}

#[test]
fn a_transport_that_receives_nothing_costs_nothing() {
    let log = ArrivalLog::default();
    assert_eq!(log.poll_timeout(), None);
    assert!(size_of::<ArrivalLog>() <= 136, "{} bytes", size_of::<ArrivalLog>());
}
