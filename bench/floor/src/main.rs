//! The floor: what it costs at the least to seal packets and to send them, and how late they are at the least.
//!
//! A server that forwards has to do at least this much for each packet it sends, so its cost is told as a multiple of
//! the floor's. `floor send` seals and sends bursts of packets to many destinations as one forwarded video frame would
//! be; `floor sink` takes them in and counts. And what it delays: `floor relay` sends bursts back as they come, and `floor
//! probe` tells how late. They print one line of JSON. `cargo xtask bench` runs sender and relay where the servers run, sink
//! and probe where the load generator runs.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command's output is its product")]

#[cfg(target_os = "linux")]
mod pace;
#[cfg(target_os = "linux")]
mod probe;
#[cfg(target_os = "linux")]
mod relay;
#[cfg(target_os = "linux")]
mod seal;
#[cfg(target_os = "linux")]
mod sender;
#[cfg(target_os = "linux")]
mod sink;

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use clap::Parser as _;

    let ran = match Floor::parse() {
        Floor::Send(plan) => sender::run(&plan).and_then(|report| print(&report)),
        Floor::Sink(plan) => sink::run(&plan).and_then(|report| print(&report)),
        Floor::Relay(plan) => relay::run(&plan),
        Floor::Probe(plan) => probe::run(&plan).and_then(|report| print(&report)),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!("error: the floor is measured on Linux only: it is made of Linux system calls");
    ExitCode::FAILURE
}

/// What sealing and sending cost, and relaying delays, at the least.
#[cfg(target_os = "linux")]
#[derive(clap::Parser)]
enum Floor {
    /// Seals and sends bursts to many destinations, and tells the processor time per packet
    Send(sender::Plan),
    /// Receives what a sender sends, and counts it; ends when its standard input does
    Sink(sink::Plan),
    /// Sends back whatever arrives
    Relay(relay::Plan),
    /// Sends bursts to a relay, and tells how late they come back
    Probe(probe::Plan),
}

#[cfg(target_os = "linux")]
fn print(report: &impl serde::Serialize) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}
