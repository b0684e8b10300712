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

/// Milliseconds, and packets in a hundred.
const DELAY: &str = "150";
const LOSS: &str = "5";

#[test]
fn injected_delay_shows_in_every_latency() {
    let stage = Stage::start();
    let run = through_proxy(&stage, &["--delay-ms", DELAY]);
    assert_eq!(run.fault(), None);
    // A busy machine adds to it, and nothing takes from it; that it is no more is for the bench to prove.
    assert!(run.figure("/latency_us/p50") >= 150_000.0);
    assert_eq!(run.figure("/packets_lost"), 0.0, "late is not lost");
}

#[test]
fn injected_loss_shows_as_missing_packets_that_are_repaired() {
    let stage = Stage::start();
    let run = through_proxy(&stage, &["--loss", LOSS]);
    // Of 1440 packets 72 are missing, give or take 50: six standard deviations. A machine so busy that
    // sockets overflow makes them more.
    assert!(run.figure("/missing_percent") > 1.5);
    assert!(run.figure("/packets_repaired") > run.figure("/packets_missing") / 2.0);
    assert_eq!(run.figure("/content_errors"), 0.0);
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
    stage.load(&["stage", "--viewers", "3", "--seconds", "2", "--max-loss", "50", "--via", &listen])
}
