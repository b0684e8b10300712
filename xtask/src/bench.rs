//! `cargo xtask bench`: what the media plane costs, beside the floor and beside others.
//!
//! Builds the programs and fetches the peers, then moves into network namespaces of its own (`network`) and runs one
//! experiment after another (`experiments`): servers on one core, the load generator on another, what is compared one
//! right after the other. Only ratios of such pairs are claims; absolute times depend on the machine and the hour.

mod capacity;
mod chart;
mod comparisons;
mod experiments;
mod figures;
mod findings;
mod floor;
mod garbage;
mod generator;
mod measured;
mod memory;
mod network;
mod options;
mod peers;
mod process;
mod profile;
mod prove;
mod report;
mod runner;
mod search;
mod server;
mod statistics;
mod turnover;
mod workload;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use self::experiments::{ALL, Experiment};
use self::findings::Findings;
use self::generator::Generator;
use self::network::{INSIDE, Network};
use self::options::{Options, Task};
use self::peers::Peers;
use self::process::{Core, busy_ticks};
use self::report::Report;
use self::runner::Bench;
use self::server::Programs;
use crate::install;

/// What `cargo xtask bench` understands.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask bench [options]

  (none)             every figure of the media plane, in about 22 minutes
  --quick            the most telling ones, within five minutes
  --only A,B         only some experiments: stage, single, churn, memory, hall, growth, garbage, joins,
                     stage-capacity, hall-capacity, grid-capacity
  --pairs N          how often each comparison is repeated (5)
  --seconds S        how long each run measures (4)
  --write            put the results into bench/results, to be committed
  --rough            count runs on a machine that is busy with other things, too: to try things out
  --prove            only show that delay and loss are seen as what they are
  --profile          where the server's time goes, function by function
  browsers [pattern] instead: calls through real browsers
";

/// Runs the bench; false says that it ran and something was wrong with the instrument.
///
/// # Errors
/// If something that it needs is missing or fails.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<bool> {
    match arguments {
        ["--help" | "-h" | "help"] => {
            print!("{USAGE}");
            Ok(true)
        }
        [INSIDE, rest @ ..] => inside(root, &Options::parse(rest)?),
        _ => {
            // Told before minutes of building.
            let options = Options::parse(arguments)?;
            ensure!(
                cfg!(target_os = "linux"),
                "the bench needs Linux: it is made of its namespaces"
            );
            programs(options.task)?;
            Peers::fetch(&peers()?)?;
            build(root)?;
            match network::enter(arguments)? {}
        }
    }
}

/// What has to be installed, with the Debian package that brings it.
fn programs(task: Task) -> Result<()> {
    let mut needed = vec![
        ("ip", "iproute2"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
        ("taskset", "util-linux"),
    ];
    if task == Task::Profile {
        needed.push(("perf", "linux-perf"));
    }
    install::programs(&needed)
}

fn build(root: &Path) -> Result<()> {
    println!("building the server, the load generator and the floor");
    let packages = ["--package", "roomful", "--package", "roomful-load", "--package", "floor"];
    let status = Command::new("cargo")
        .args(["build", "--release", "--locked"])
        .args(packages)
        .current_dir(root)
        .status()
        .context("cannot run cargo")?;
    ensure!(status.success(), "the programs did not build");
    Ok(())
}

/// Where cargo puts what it builds: this program lies in a folder of it.
fn target() -> Result<PathBuf> {
    let program = std::env::current_exe().context("where is this program?")?;
    program
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .context("this program lies in no target folder")
}

/// LiveKit's server, built if it is not there.
///
/// # Errors
/// If it cannot be built.
pub(crate) fn livekit() -> Result<PathBuf> {
    Peers::fetch_livekit(&peers()?)
}

fn peers() -> Result<PathBuf> {
    Ok(target()?.join("bench/peers"))
}

fn inside(root: &Path, options: &Options) -> Result<bool> {
    ensure!(
        std::thread::available_parallelism().is_ok_and(|cores| cores.get() >= 2),
        "the bench needs two cores: one for the server, one for the load generator"
    );
    let mut bench = set_up(options)?;
    match options.task {
        Task::Figures => figures(root, &mut bench),
        Task::Prove => prove::run(&mut bench),
        Task::Profile => profile::run(root, &mut bench),
    }
}

fn set_up(options: &Options) -> Result<Bench> {
    let directory = target()?.join("bench");
    let runs = directory.join("runs");
    // Runs of an earlier bench beside this one's would be taken for its own.
    if runs.exists() {
        std::fs::remove_dir_all(&runs).context("cannot remove earlier runs")?;
    }
    std::fs::create_dir_all(&runs)?;
    let release = target()?.join("release");
    let programs = Programs {
        roomful: release.join("roomful"),
        peers: Peers::find(&peers()?),
        directory: directory.clone(),
    };
    Ok(Bench {
        options: options.clone(),
        programs,
        generator: Generator { program: release.join("roomful-load"), logs: directory.clone() },
        floor: release.join("floor"),
        network: Network::new(&directory)?,
        records: Vec::new(),
        busy: busy(),
        started: Instant::now(),
        experiment: String::new(),
        until: None,
    })
}

/// How busy each core is with whatever else the machine does, as shares; with a word if that will show.
fn busy() -> Vec<f64> {
    let cores = [Core::SERVER, Core::GENERATOR];
    let before = cores.map(busy_ticks);
    std::thread::sleep(BEFORE);
    let after = cores.map(busy_ticks);
    let spent = before.iter().zip(after).filter_map(|(before, after)| Some(after? - (*before)?));
    // A hundred ticks a second, as /proc counts them.
    let busy: Vec<f64> = spent.map(|ticks| ticks as f64 / 100.0 / BEFORE.as_secs_f64()).collect();
    if busy.iter().any(|share| *share > CALM) {
        let percent: Vec<String> =
            busy.iter().map(|share| format!("{:.0} %", share * 100.0)).collect();
        println!(
            "this machine is busy with other things ({} of its cores): figures will suffer, and many runs not count",
            percent.join(" and ")
        );
    }
    busy
}

/// How long the machine is looked at before.
const BEFORE: Duration = Duration::from_secs(1);
/// The share of a core that others may use before it shows in figures.
const CALM: f64 = 0.1;

/// Runs the experiments that were asked for and tells their figures. What fails is told and leaves the others alone;
/// the summary is written after each experiment, so that one interrupted keeps what it has.
fn figures(root: &Path, bench: &mut Bench) -> Result<bool> {
    let options = bench.options.clone();
    let (chosen, others): (Vec<&Experiment>, Vec<&Experiment>) =
        ALL.iter().partition(|experiment| {
            options.wants(experiment.name) && (experiment.quick || !options.is_quick())
        });
    if chosen.is_empty() {
        bail!("there is no such experiment; cargo xtask bench --help names them");
    }
    plan(&chosen, &options);
    let proven = !options.is_full() || prove::run(bench)?;
    let mut findings = Findings::new(bench.busy.clone(), bench.network.is_steered);
    for experiment in &others {
        findings.miss(experiment);
    }
    for experiment in chosen {
        experiment.name.clone_into(&mut bench.experiment);
        bench.until = Some(deadline(&options, experiment, bench.started));
        match (experiment.run)(bench) {
            Ok(found) => findings.add(found, bench),
            Err(error) => {
                println!("{} failed: {error:#}", experiment.name);
                findings.miss(experiment);
            }
        }
        summarize(root, bench, &findings)?;
    }
    bench.until = None;
    tell(root, bench, &findings)?;
    if options.is_full()
        && let Err(error) = profile::run(root, bench)
    {
        println!("without a profile: {error:#}");
    }
    Ok(proven)
}

/// When an experiment has to start nothing new: repeated runs may take a quarter more than planned.
fn deadline(options: &Options, experiment: &Experiment, started: Instant) -> Instant {
    let own = Instant::now() + (experiment.takes)(options) * 5 / 4 + REPEAT;
    options.budget.map_or(own, |budget| own.min(started + budget))
}

/// One repeated run, so that short experiments have it too.
const REPEAT: Duration = Duration::from_secs(12);

fn plan(chosen: &[&Experiment], options: &Options) {
    let names: Vec<&str> = chosen.iter().map(|experiment| experiment.name).collect();
    let planned: Duration = chosen.iter().map(|experiment| (experiment.takes)(options)).sum();
    let takes = options.budget.map_or(planned, |budget| budget.min(planned));
    println!(
        "{}: {} pairs, {} s each; about {} min",
        names.join(", "),
        options.pairs,
        options.seconds,
        takes.as_secs().div_ceil(60)
    );
}

fn summarize(root: &Path, bench: &Bench, findings: &Findings) -> Result<PathBuf> {
    let summary = bench.programs.directory.join("summary.json");
    let report = Report { findings, records: &bench.records };
    std::fs::write(&summary, serde_json::to_string_pretty(&report.summary(root))?)
        .with_context(|| format!("cannot write {}", summary.display()))?;
    Ok(summary)
}

fn tell(root: &Path, bench: &Bench, findings: &Findings) -> Result<()> {
    let report = Report { findings, records: &bench.records };
    println!("\n{}", report.table());
    if !findings.missing.is_empty() {
        println!("not measured by this run: {}", findings.missing.join(", "));
    }
    let took = bench.started.elapsed().as_secs();
    println!("{} runs in {} min {} s", report.records.len(), took / 60, took % 60);
    println!("summary: {}", summarize(root, bench, findings)?.display());
    if bench.options.write {
        report.write(root)?;
        println!("results: {}", root.join("bench/results").display());
    }
    Ok(())
}
