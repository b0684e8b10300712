//! What goes wrong has to show.

use std::process::ExitCode;

use crate::stage::{Run, Stage, free_address};

#[test]
fn a_wrong_secret_is_an_error_and_no_report() {
    let stage = Stage::start();
    let run = stage.load_with_secret(&["idle", "--participants", "1"], "wrong");
    assert_eq!(run.exit, ExitCode::FAILURE);
    assert!(run.report.is_none());
}

#[test]
fn injected_delay_shows_as_itself() {
    let stage = Stage::start();
    let plain = through_proxy(&stage, &[]);
    let late = through_proxy(&stage, &["--delay-ms", "40"]);
    assert_eq!(late.fault(), None);
    let added = (late.figure("/latency_us/p50") - plain.figure("/latency_us/p50")) / 1000.0;
    // The machine may be busy with other tests; the bench shows it exactly.
    assert!((35.0..60.0).contains(&added), "{added} ms");
}

#[test]
fn injected_loss_shows_as_itself_and_is_repaired() {
    let stage = Stage::start();
    let run = through_proxy(&stage, &["--loss", "5"]);
    let missing = run.figure("/missing_percent");
    // 1440 packets: 72 expected, six standard deviations are 50.
    assert!((1.5..8.5).contains(&missing), "{missing} %");
    assert!(run.figure("/packets_repaired") > run.figure("/packets_missing") * 0.8);
}

#[test]
fn garbage_disturbs_nobody() {
    let stage = Stage::start();
    let run = stage.load(&["stage", "--viewers", "3", "--seconds", "1", "--garbage", "2000"]);
    assert_eq!(run.fault(), None);
    assert_eq!(run.figure("/packets_lost"), 0.0);
    assert_eq!(run.figure("/content_errors"), 0.0);
}

/// Three viewers and a camera for two seconds behind the relay.
fn through_proxy(stage: &Stage, impairment: &[&str]) -> Run {
    let listen = free_address().to_string();
    let to = stage.media.to_string();
    let flags = ["roomful-load", "proxy", "--listen", &listen, "--to", &to];
    let arguments: Vec<String> =
        flags.iter().chain(impairment).map(|text| (*text).to_owned()).collect();
    // It ends with the tests.
    std::thread::spawn(move || roomful_load::run(arguments));
    stage.load(&["stage", "--viewers", "3", "--seconds", "2", "--max-loss", "9", "--via", &listen])
}
