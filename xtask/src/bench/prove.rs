//! Showing that the instrument can fail: what is injected has to be seen as what it is.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::figures::number;
use super::generator::Load;
use super::measured::Measured;
use super::network::GENERATOR;
use super::process::Process;
use super::runner::{Bench, Variant};
use super::server::{Subject, media_address};
use super::workload::Workload;

/// W1 with so many viewers. More would have the proxy, which is no fast program, add delays of its own.
const VIEWERS: u32 = 10;

/// Where the proxy listens.
const PROXY_PORT: u16 = 7900;

/// What is injected: milliseconds, and packets in a hundred.
const DELAY_MS: f64 = 5.0;
const LOSS: f64 = 1.0;

/// By how much the delay may be missed: what timers and a shared core add or spare.
const DELAY_SLACK_MS: f64 = 0.5;

/// By how much the loss may be missed. In 5 s ten viewers get 12,000 packets of which 120 are lost, give or take 11:
/// three times that is a quarter.
const LOSS_SLACK: f64 = 0.3;

/// By which share light and full mode may differ in what a packet costs the server. Runs of one mode differ by a tenth.
const COST_SLACK: f64 = 0.25;
/// By which share they may differ in the median latency, of which light mode has one in 64.
const LATENCY_SLACK: f64 = 0.5;
/// By which share they may differ in how many packets arrive: what a window has more or less of at its ends.
const COUNT_SLACK: f64 = 0.02;

/// What stands between the participants and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Impairment {
    delay_ms: f64,
    loss: f64,
}

/// Injects delay and loss, and compares light mode with full mode. Returns whether all was seen as what it is.
///
/// # Errors
/// If a run cannot be carried out or a record not be written.
pub(crate) fn run(bench: &mut Bench) -> Result<bool> {
    "proof".clone_into(&mut bench.experiment);
    println!("proving the instrument: delay, loss, light mode; about 1 min");
    let plain = through(bench, Impairment::default())?;
    let delayed = through(bench, Impairment { delay_ms: DELAY_MS, ..Impairment::default() })?;
    let lossy = through(bench, Impairment { loss: LOSS, ..Impairment::default() })?;
    let load = Load::of(Workload::Stage { viewers: VIEWERS });
    let full = direct(bench, load)?;
    let light = direct(bench, load.light())?;
    let checks = [delay(&plain, &delayed), loss(&plain, &lossy), modes(&full, &light)].into_iter();
    let mut proven = true;
    for (sentence, holds) in checks {
        println!("{} {sentence}", if holds { "ok    " } else { "FAILED" });
        proven &= holds;
    }
    Ok(proven)
}

/// What a check found, and whether it holds.
type Check = (String, bool);

fn delay(plain: &Measured, delayed: &Measured) -> Check {
    let grown = growth_ms(plain, delayed);
    let text = grown.map_or("nothing".to_owned(), number);
    let holds = grown.is_some_and(|grown| (grown - DELAY_MS).abs() <= DELAY_SLACK_MS);
    (format!("{DELAY_MS} ms of delay show as {text} ms"), holds)
}

fn growth_ms(plain: &Measured, delayed: &Measured) -> Option<f64> {
    Some((delayed.latency_us.p50? - plain.latency_us.p50?) / 1000.0)
}

fn loss(plain: &Measured, lossy: &Measured) -> Check {
    let (before, after) = (plain.missing_percent, lossy.missing_percent);
    let text = |percent: Option<f64>| percent.map_or("nothing".to_owned(), number);
    let holds = before.is_some_and(|before| before < LOSS_SLACK)
        && after.is_some_and(|after| (after - LOSS).abs() <= LOSS_SLACK);
    let sentence = format!(
        "{LOSS} % of lost packets show as {} % missed at first, none as {} %",
        text(after),
        text(before)
    );
    (sentence, holds)
}

fn modes(full: &Measured, light: &Measured) -> Check {
    let near = |figure: fn(&Measured) -> Option<f64>, slack: f64| {
        let (full, light) = (figure(full), figure(light));
        full.zip(light).is_some_and(|(full, light)| (light / full - 1.0).abs() <= slack)
    };
    let holds = near(|run| run.packets, COUNT_SLACK)
        && near(|run| run.cpu_us_per_packet, COST_SLACK)
        && near(|run| run.latency_us.p50, LATENCY_SLACK);
    let told = |run: &Measured| {
        let figures = [run.packets, run.cpu_us_per_packet, run.latency_us.p50];
        let [packets, cost, p50] = figures.map(|figure| figure.map_or("?".to_owned(), number));
        format!("{packets} packets, {cost} µs each, p50 {p50} µs")
    };
    (format!("full mode: {}; light mode: {}", told(full), told(light)), holds)
}

fn direct(bench: &mut Bench, load: Load) -> Result<Measured> {
    Ok(bench.once(&Variant::Server(Subject::Roomful, load), 1)?.measured)
}

fn through(bench: &mut Bench, impairment: Impairment) -> Result<Measured> {
    let proxy = SocketAddr::from((GENERATOR, PROXY_PORT));
    let mut command = bench.network.in_generator(&bench.generator.program);
    command
        .args(["proxy", "--listen", &proxy.to_string(), "--to", &media_address().to_string()])
        .args(["--delay-ms", &impairment.delay_ms.to_string()])
        .args(["--loss", &impairment.loss.to_string()]);
    let log = bench.programs.directory.join("proxy.log");
    let mut process = Process::start("the proxy", command, log)?;
    process
        .wait_until(Duration::from_secs(5), |proxy| proxy.output().contains("listening"))
        .context("without a proxy nothing can be injected")?;
    let load = Load::of(Workload::Stage { viewers: VIEWERS }).via(proxy);
    // The run ends before the proxy does.
    direct(bench, load)
}

#[cfg(test)]
mod tests {
    use super::super::measured::Percentiles;
    use super::*;

    fn latency(p50: f64) -> Measured {
        Measured { latency_us: Percentiles { p50: Some(p50), p99: None }, ..Measured::default() }
    }

    #[test]
    fn a_delay_that_shows_as_something_else_fails() {
        assert!(delay(&latency(200.0), &latency(5300.0)).1);
        assert!(!delay(&latency(200.0), &latency(400.0)).1, "not seen");
        assert!(!delay(&latency(200.0), &latency(10_200.0)).1, "seen twice");
        assert!(!delay(&latency(200.0), &Measured::default()).1, "no figure");
    }

    #[test]
    fn loss_that_is_not_seen_or_was_there_before_fails() {
        let missing =
            |percent: f64| Measured { missing_percent: Some(percent), ..Measured::default() };
        assert!(loss(&missing(0.0), &missing(0.95)).1);
        assert!(!loss(&missing(0.0), &missing(0.0)).1);
        assert!(!loss(&missing(0.9), &missing(1.0)).1);
    }

    #[test]
    fn modes_that_count_differently_fail() {
        let run = |packets: f64, cost: f64, p50: f64| Measured {
            packets: Some(packets),
            cpu_us_per_packet: Some(cost),
            ..latency(p50)
        };
        assert!(modes(&run(1000.0, 4.0, 200.0), &run(1010.0, 4.2, 220.0)).1);
        assert!(!modes(&run(1000.0, 4.0, 200.0), &run(900.0, 4.0, 200.0)).1);
        assert!(!modes(&run(1000.0, 4.0, 200.0), &run(1000.0, 8.0, 200.0)).1);
        assert!(!modes(&run(1000.0, 4.0, 200.0), &run(1000.0, 4.0, 900.0)).1);
    }
}
