//! What each workload must find at a server that works.

use crate::stage::Stage;

#[test]
fn on_a_stage_every_viewer_receives_every_packet_unchanged() {
    let stage = Stage::start();
    for codec in ["vp8", "h264", "av1"] {
        let run = stage.load(&["stage", "--viewers", "5", "--seconds", "1", "--codec", codec]);
        assert_eq!(run.fault(), None, "{codec}");
        assert_eq!(run.figure("/packets_lost"), 0.0, "{codec}");
        assert_eq!(run.figure("/content_errors"), 0.0, "{codec}");
        assert_eq!(run.figure("/streams"), 5.0, "{codec}");
        // 30 frames of 8 packets, give or take a frame at either end.
        let expected = run.figure("/packets_expected");
        assert!((5.0 * 224.0..=5.0 * 256.0).contains(&expected), "{codec}: {expected}");
        assert!(run.figure("/latency_us/samples") >= expected, "{codec}");
        assert!(run.figure("/join_ms/p50") > 0.0, "{codec}");
        assert!(run.figure("/cpu_us_per_forwarded_packet") > 0.0, "{codec}");
    }
}

#[test]
fn light_mode_counts_the_same_packets_and_opens_few() {
    let stage = Stage::start();
    let run = stage.load(&["stage", "--viewers", "5", "--seconds", "2", "--light"]);
    assert_eq!(run.fault(), None);
    assert_eq!(run.figure("/packets_lost"), 0.0);
    let received = run.figure("/packets_received");
    assert!((received - 5.0 * 480.0).abs() < 5.0 * 48.0, "{received}");
    let opened = run.figure("/latency_us/samples");
    assert!((received / 128.0..received / 32.0).contains(&opened), "{opened} of {received}");
}

#[test]
fn the_srtp_profile_asked_for_is_the_one_in_use() {
    let stage = Stage::start();
    for profile in ["gcm128", "gcm256", "cm"] {
        let run = stage.load(&["stage", "--viewers", "1", "--seconds", "0.5", "--srtp", profile]);
        assert_eq!(run.fault(), None, "{profile}");
        assert_eq!(run.report.as_ref().unwrap()["srtp"], profile);
        assert!(run.figure("/packets_received") > 0.0, "{profile}");
    }
}

#[test]
fn in_a_hall_listeners_hear_who_is_loud() {
    let stage = Stage::start();
    let run = stage.load(&["hall", "--listeners", "4", "--speakers", "3", "--seconds", "1"]);
    assert_eq!(run.fault(), None);
    // At least the loud one, 50 packets a second.
    assert!(run.figure("/packets_received") >= 4.0 * 45.0);
    assert_eq!(run.figure("/content_errors"), 0.0);
}

#[test]
fn in_a_grid_everybody_sees_one_large_and_the_others_small() {
    let stage = Stage::start();
    let run = stage.load(&["grid", "--participants", "4", "--seconds", "2"]);
    assert_eq!(run.fault(), None);
    let (received, expected) = (run.figure("/video_received"), run.figure("/video_expected"));
    assert!((received / expected - 1.0).abs() < 0.1, "{received} of {expected}");
}

#[test]
fn who_comes_and_goes_receives_and_those_who_stay_lose_nothing() {
    let stage = Stage::start();
    let arguments = ["--steady", "3", "--rate", "5", "--stay", "0.6", "--seconds", "3"];
    for scene in ["churn", "joins"] {
        let run = stage.load(&[&[scene], &arguments[..]].concat());
        assert_eq!(run.fault(), None, "{scene}");
        assert_eq!(run.figure("/joins_unfinished"), 0.0, "{scene}");
        let rate = run.figure("/joins_per_second");
        assert!((rate - 5.0).abs() <= 1.0, "{scene}: {rate}");
        assert!(run.figure("/join_ms/samples") >= 8.0, "{scene}");
    }
}

#[test]
fn idle_participants_are_connected_and_cause_no_packets() {
    let stage = Stage::start();
    let run = stage.load(&["idle", "--participants", "10", "--seconds", "0.5"]);
    assert_eq!(run.fault(), None);
    assert_eq!(run.figure("/packets_received"), 0.0);
    assert_eq!(run.figure("/join_phases_ms/dtls/samples"), 10.0);
}
