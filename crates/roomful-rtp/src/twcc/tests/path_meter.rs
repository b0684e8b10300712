use super::*;
use crate::units::Bitrate;

/// A packet every five milliseconds from `from` to `until`, each `delay(n)` on its way.
fn run(meter: &mut PathMeter, from: u64, until: u64, delay: impl Fn(u64) -> Option<u64>) {
    for sent in (from..until).step_by(5) {
        let fate = match delay(sent) {
            Some(delay) => Fate::Arrived(FeedbackTime(((sent + delay) as u32).wrapping_mul(4))),
            None => Fate::Lost,
        };
        meter.handle(&SentPacket { seq: 0, sent: at(sent), size: 1250, fate });
    }
}

#[test]
fn nothing_is_known_before_anything_arrived() {
    let mut meter = PathMeter::default();
    assert_eq!(meter.acknowledged(), None);
    assert_eq!(meter.loss_fraction(), None);
    assert_eq!(meter.queueing_delay(), None);
    run(&mut meter, 0, 5, |_| Some(20));
    assert_eq!(meter.acknowledged(), None);
    assert_eq!(meter.queueing_delay(), Some(Duration::ZERO));
}

#[test]
fn the_acknowledged_rate_follows_what_arrives_within_half_a_second() {
    let mut meter = PathMeter::default();
    run(&mut meter, 0, 200, |_| Some(20));
    assert_eq!(meter.acknowledged(), Some(Bitrate(2_000_000)), "soon");
    run(&mut meter, 200, 2000, |_| Some(20));
    assert_eq!(meter.acknowledged(), Some(Bitrate(2_000_000)));
    run(&mut meter, 2000, 2500, |sent| (sent % 10 == 0).then_some(20));
    assert_eq!(meter.acknowledged(), Some(Bitrate(1_000_000)));
}

#[test]
fn a_burst_counts_once_its_fifty_milliseconds_are_over() {
    let mut meter = PathMeter::default();
    run(&mut meter, 0, 1000, |_| Some(20));
    let fate = Fate::Arrived(FeedbackTime(4 * 1016));
    meter.handle(&SentPacket { seq: 0, sent: at(996), size: 12_500, fate });
    assert_eq!(meter.acknowledged(), Some(Bitrate(2_000_000)));
    run(&mut meter, 1000, 1050, |_| Some(20));
    assert!(meter.acknowledged() > Some(Bitrate(2_200_000)), "{:?}", meter.acknowledged());
}

#[test]
fn loss_is_a_share_of_the_window_and_what_comes_late_is_none() {
    let mut meter = PathMeter::default();
    run(&mut meter, 0, 1000, |sent| (sent % 50 != 5).then_some(20));
    let loss = meter.loss_fraction().unwrap();
    assert!((0.09..0.11).contains(&loss), "{loss}");
    // Of the 100 packets of half a second, nine instead of ten.
    let fate = Fate::ArrivedLate(FeedbackTime(4 * 1015));
    meter.handle(&SentPacket { seq: 0, sent: at(905), size: 1250, fate });
    let after = meter.loss_fraction().unwrap();
    assert!((loss - 0.012..loss - 0.008).contains(&after), "{loss}, then {after}");
    run(&mut meter, 1000, 1500, |_| Some(20));
    assert_eq!(meter.loss_fraction(), Some(0.0));
}

#[test]
fn a_queue_that_builds_up_is_seen_and_one_that_stands_becomes_the_path() {
    let mut meter = PathMeter::default();
    run(&mut meter, 0, 1000, |_| Some(20));
    run(&mut meter, 1000, 2000, |sent| Some(20 + (sent - 1000) / 10));
    assert_eq!(meter.queueing_delay(), Some(MILLISECOND * 99));
    run(&mut meter, 2000, 9000, |_| Some(119));
    assert_eq!(meter.queueing_delay(), Some(MILLISECOND * 99));
    run(&mut meter, 9000, 31_000, |_| Some(119));
    assert_eq!(meter.queueing_delay(), Some(Duration::ZERO));
}

#[test]
fn a_packet_that_was_overtaken_changes_no_delay_but_counts() {
    let mut meter = PathMeter::default();
    run(&mut meter, 0, 1000, |_| Some(20));
    let before = meter.acknowledged();
    let fate = Fate::Arrived(FeedbackTime(4 * 900));
    meter.handle(&SentPacket { seq: 0, sent: at(880), size: 12_500, fate });
    assert_eq!(meter.queueing_delay(), Some(Duration::ZERO));
    assert!(meter.acknowledged() > before);
}

#[test]
fn clocks_that_wrap_or_begin_anew_are_followed() {
    let mut meter = PathMeter::default();
    // The receiver's clock passes 2^32 after a second.
    run(&mut meter, 0, 2000, |sent| Some((1 << 30) - 1000 - sent + sent));
    assert_eq!(meter.acknowledged(), Some(Bitrate(2_000_000)));
    assert_eq!(meter.queueing_delay(), Some(Duration::ZERO));
    run(&mut meter, 2000, 3000, |sent| (sent % 10 == 0).then_some(1 << 29));
    assert_eq!(meter.acknowledged(), Some(Bitrate(1_000_000)), "after a jump");
}

#[test]
fn it_stays_small_as_every_subscriber_has_one() {
    assert!(size_of::<PathMeter>() <= 280, "{} bytes", size_of::<PathMeter>());
    assert!(size_of::<SentLog>() <= 64, "{} bytes", size_of::<SentLog>());
}
