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
        // What was published went to each of five, and each of those packets was opened.
        let expected = run.figure("/packets_expected");
        assert_eq!(expected, 5.0 * run.figure("/packets_published"), "{codec}");
        assert!(expected > 0.0, "{codec}");
        assert_eq!(run.figure("/latency_us/samples"), expected, "{codec}");
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
    // Light mode counts what arrives while measuring, which a busy machine shifts at both ends.
    let share = received / run.figure("/packets_expected");
    assert!((0.8..1.2).contains(&share), "{share}");
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
    // At least the loud one of three, for each of four. Whether silence is forwarded is the server's choice.
    let loud = run.figure("/packets_published") / 3.0;
    assert!(run.figure("/packets_received") >= 4.0 * loud * 0.8);
    assert_eq!(run.figure("/content_errors"), 0.0);
}

#[test]
fn in_a_grid_everybody_sees_one_large_and_the_others_small() {
    let stage = Stage::start();
    let run = stage.load(&["grid", "--participants", "4", "--seconds", "2"]);
    assert_eq!(run.fault(), None);
    // If all were large it would be twice as much, if all were small half.
    let share = run.figure("/video_received") / run.figure("/video_expected");
    assert!((0.75..1.4).contains(&share), "{share}");
    // Sound of the three who talk: two of them hear two others, the fourth hears three.
    let share = run.figure("/audio_received") / run.figure("/audio_expected");
    assert!(share > 0.8, "{share}");
}

#[test]
fn who_comes_and_goes_receives_and_those_who_stay_lose_nothing() {
    let stage = Stage::start();
    // Whoever comes stays for longer than a join takes on a busy machine.
    let arguments = ["--steady", "3", "--rate", "4", "--stay", "2", "--seconds", "4"];
    for scene in ["churn", "joins"] {
        let run = stage.load(&[&[scene], &arguments[..]].concat());
        assert_eq!(run.figure("/packets_lost"), 0.0, "{scene}");
        assert_eq!(run.figure("/content_errors"), 0.0, "{scene}");
        assert_eq!(run.figure("/failures"), 0.0, "{scene}");
        // Those of the first three seconds count, twelve of them: they had time.
        let joined = run.figure("/join_ms/samples");
        let all = joined + run.figure("/joins_unfinished");
        assert!((11.0..=13.0).contains(&all), "{scene}: {all}");
        assert!(joined >= 10.0, "{scene}: {joined}");
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
