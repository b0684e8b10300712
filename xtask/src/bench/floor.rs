//! Running the floor programs: a sink on the generator's side, a sender on the servers' side.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde_json::Value;

use super::measured::{Measured, Percentiles, Shares};
use super::network::{GENERATOR, Network, SERVER};
use super::process::{Core, Process, pinned};

/// How the floor's sender gives packets to the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Floor {
    /// A burst a message, cut into packets by the kernel.
    Gso,
    /// A packet a message, many messages a call.
    Sendmmsg,
    /// The same with W2's sound in place of W1's pictures: a packet alone has nothing to be cut from.
    Sound,
}

/// What a floor sends to each destination.
struct Bursts {
    mode: &'static str,
    /// Packets a burst.
    packets: u32,
    /// Bytes of a packet on the wire.
    bytes: u32,
    /// Bursts a second.
    rate: u32,
}

impl Floor {
    fn bursts(self) -> Bursts {
        let picture = |mode| Bursts { mode, packets: 8, bytes: 1200, rate: 30 };
        match self {
            Self::Gso => picture("gso"),
            Self::Sendmmsg => picture("sendmmsg"),
            // A hundred bytes of Opus, with header, extension and tag.
            Self::Sound => Bursts { mode: "sendmmsg", packets: 1, bytes: 136, rate: 50 },
        }
    }
}

/// The first of the sink's ports, and the relay's.
const PORT: u16 = 20_000;
/// The share of the planned rate below which the sender was kept from its core, so that its caches tell of somebody else.
const KEPT_UP: f64 = 0.95;
/// Before measuring: the caches are warm and the clocks up after it.
const WARMUP: f64 = 1.0;

/// Sends a floor's packets to `destinations` for `seconds`; returns the figures, and what the programs printed.
///
/// # Errors
/// If a program fails or prints something else than its report.
pub(crate) fn run(
    program: &Path,
    network: &Network,
    floor: Floor,
    destinations: u32,
    seconds: f64,
    logs: &Path,
) -> Result<(Measured, Value)> {
    let destinations = destinations.to_string();
    let log = |name: &str| -> PathBuf { logs.join(format!("floor-{name}.log")) };
    let first = format!("{GENERATOR}:{PORT}");
    let mut sink = network.in_generator(program);
    let Bursts { mode, packets, bytes, rate } = floor.bursts();
    sink.args(["sink", "--at", &first, "--sockets", &destinations, "--bytes", &bytes.to_string()]);
    let mut sink = Process::start("the floor's sink", sink, log("sink"))?;
    sink.wait_until(Duration::from_secs(10), |sink| sink.output().contains("ready"))?;

    let mut sender = pinned(Core::SERVER, program);
    sender
        .args(["send", "--mode", mode, "--to", &first, "--destinations", &destinations])
        .args(["--packets", &packets.to_string(), "--bytes", &bytes.to_string()])
        .args(["--rate", &rate.to_string()])
        .args(["--warmup", &WARMUP.to_string(), "--seconds", &seconds.to_string()]);
    let mut sender = Process::start("the floor's sender", sender, log("sender"))?;
    let limit = Duration::from_secs_f64(WARMUP + seconds + 20.0);
    let status = sender.wait(limit, || {})?;
    ensure!(status.success(), "the floor's sender failed: {}", sender.last_words());
    sink.close_input();
    sink.wait(Duration::from_secs(10), || {})?;

    let sent = report(&sender.output())?;
    let received = report(&sink.output())?;
    let measured = measured(f64::from(packets * rate), &sent, &received)?;
    Ok((measured, serde_json::json!({ "sender": sent, "sink": received })))
}

/// Sends W1's bursts to a relay where the servers run and back; returns how late they are, and what the probe printed.
///
/// # Errors
/// If a program fails or prints something else than its report.
pub(crate) fn relay(
    program: &Path,
    network: &Network,
    seconds: f64,
    logs: &Path,
) -> Result<(Measured, Value)> {
    let at = format!("{SERVER}:{PORT}");
    let mut relay = pinned(Core::SERVER, program);
    relay.args(["relay", "--at", &at]);
    let mut relay = Process::start("the floor's relay", relay, logs.join("floor-relay.log"))?;
    relay.wait_until(Duration::from_secs(10), |relay| relay.output().contains("ready"))?;
    let mut probe = network.in_generator(program);
    probe.args(["probe", "--to", &at]);
    probe.args(["--warmup", &WARMUP.to_string(), "--seconds", &seconds.to_string()]);
    let mut probe = Process::start("the floor's probe", probe, logs.join("floor-probe.log"))?;
    let limit = Duration::from_secs_f64(WARMUP + seconds + 20.0);
    let status = probe.wait(limit, || {})?;
    ensure!(status.success(), "the floor's probe failed: {}", probe.last_words());
    let back = report(&probe.output())?;
    Ok((relayed(&back)?, back))
}

fn relayed(back: &Value) -> Result<Measured> {
    let number = |name: &str| {
        back[name].as_f64().with_context(|| format!("the probe's report lacks {name}"))
    };
    let sent = number("packets")?;
    Ok(Measured {
        packets: Some(number("back")?),
        loss_percent: Some((1.0 - number("back")? / sent) * 100.0),
        latency_us: Percentiles { p50: Some(number("p50_us")?), p99: Some(number("p99_us")?) },
        ..Measured::default()
    })
}

/// The line of JSON among whatever else a program printed.
fn report(output: &str) -> Result<Value> {
    let line = output.lines().find(|line| line.starts_with('{'));
    serde_json::from_str(line.context("the floor printed no report")?).context("no JSON")
}

/// `rate`: packets a second that each destination should have been sent.
fn measured(rate: f64, sent: &Value, received: &Value) -> Result<Measured> {
    let number = |report: &Value, name: &str| {
        report[name].as_f64().with_context(|| format!("the floor's report lacks {name}"))
    };
    let (packets, took) = (number(sent, "packets")?, number(sent, "seconds")?);
    let planned = rate * number(sent, "destinations")? * took;
    ensure!(
        packets >= planned * KEPT_UP,
        "the floor sent {packets} packets of {planned:.0}: its core was busy with something else"
    );
    let in_all = number(sent, "packets_in_all")?;
    let lost = in_all - number(received, "packets")? + number(received, "odd")?;
    Ok(Measured {
        cpu_us_per_packet: Some(number(sent, "cpu_us_per_packet")?),
        packets: Some(packets),
        loss_percent: Some(lost / in_all * 100.0),
        shares: Shares { server: Some(number(sent, "cpu_share")?), ..Shares::default() },
        ..Measured::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(packets: u32) -> Value {
        report(&format!(
            "{{\"packets\":{packets},\"packets_in_all\":1000,\"destinations\":2,\"seconds\":1.0,\
             \"cpu_us_per_packet\":1.5,\"cpu_share\":0.1}}"
        ))
        .unwrap()
    }

    #[test]
    fn what_the_sink_lacks_was_lost() {
        let received = report("ready\n{\"packets\":970,\"sockets\":1,\"odd\":0}\n").unwrap();
        let measured = measured(240.0, &sent(480), &received).unwrap();
        assert_eq!((measured.loss_percent, measured.cpu_us_per_packet), (Some(3.0), Some(1.5)));
        assert!(measured.fault(false).is_some());
    }

    #[test]
    fn a_sender_that_did_not_keep_up_measured_somebody_else() {
        let received = serde_json::json!({ "packets": 1000, "odd": 0 });
        assert!(measured(240.0, &sent(470), &received).is_ok());
        assert!(measured(240.0, &sent(440), &received).is_err());
    }

    #[test]
    fn what_the_relay_did_not_send_back_was_lost() {
        let back = |back: u32| serde_json::json!({ "packets": 1000, "back": back, "p50_us": 120.5, "p99_us": 300.0 });
        let measured = relayed(&back(1000)).unwrap();
        assert_eq!((measured.latency_us.p50, measured.fault(false)), (Some(120.5), None));
        assert!(relayed(&back(990)).unwrap().fault(false).is_some());
    }

    #[test]
    fn a_report_without_its_figures_is_an_error_rather_than_zero() {
        assert!(report("Killed\n").is_err());
        assert!(
            measured(240.0, &serde_json::json!({}), &serde_json::json!({ "packets": 1 })).is_err()
        );
    }
}
