//! A load generator for video rooms: many virtual participants in one process that speak only over the
//! wire, as browsers would, and a report on how the server bore them.
//!
//! Signalling runs on a small asynchronous runtime (`signalling`, `crowd`, `workload`), media on one plain
//! thread (`engine`) that owns every participant's socket; between them go [commands](engine::Command).
//! A packet goes `udp → engine → participant → ledger`, a frame `engine/schedule → media/source → udp`.
//! Content is marked where it is made and checked where it arrives (`media/mark`).

#![cfg(target_os = "linux")]

mod cli;
mod clock;
mod crowd;
mod dtls;
mod engine;
mod garbage;
mod ice;
mod ledger;
mod media;
mod participant;
mod process;
mod proxy;
mod report;
mod sdp;
mod signalling;
mod udp;
mod workload;

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;

use cli::Command;
use proxy::Impairment;

/// Runs with these command-line arguments, the program's name first, and says how it went: 0 if the run
/// counts, 2 if it is void, 1 if it could not be carried out.
///
/// Must not be called within an asynchronous runtime.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // A terminal that is gone stops nothing.
            let _gone = error.print();
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    match carry_out(cli.command()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(2),
        Err(error) => {
            report::progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Returns whether the figures count.
fn carry_out(command: Command) -> anyhow::Result<bool> {
    if let Command::Proxy(wanted) = &command {
        return relay(wanted).map(|()| true);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match command {
        Command::Capacity(wanted) => {
            let sentence = runtime.block_on(workload::find_capacity(&wanted))?;
            report::print(&sentence)?;
            Ok(true)
        }
        Command::Workload(workload) if workload.common().measuring.validate => {
            let full = runtime.block_on(workload::run(&workload))?;
            full.publish(workload.common())?;
            let light = runtime.block_on(workload::run(&workload.clone().light()))?;
            report::print(&format!("\nthe same in light mode\n{}", light.table()))?;
            let difference = full.difference(&light);
            let verdict = difference.as_deref().unwrap_or("both modes agree");
            report::print(&format!("\n{verdict}\n"))?;
            Ok(difference.is_none() && full.void.is_none() && light.void.is_none())
        }
        Command::Workload(workload) => {
            let report = runtime.block_on(workload::run(&workload))?;
            report.publish(workload.common())?;
            Ok(report.void.is_none())
        }
        Command::Proxy(_) => Ok(true),
    }
}

fn relay(wanted: &cli::Proxy) -> anyhow::Result<()> {
    let delay = Duration::from_secs_f64(wanted.delay_ms.clamp(0.0, 10_000.0) / 1000.0);
    let loss = wanted.loss.clamp(0.0, 100.0) / 100.0;
    proxy::run(wanted.listen, wanted.to, Impairment { delay, loss }, |address| {
        report::progress(&format!("listening at {address}"));
    })
}
