//! Two network namespaces joined by a wire, and nothing to clean up.
//!
//! The bench moves itself into new namespaces for processes and network: there the servers run. A second network
//! namespace, kept by one sleeping process, holds the load generator. Neither has a name on the machine; when the bench
//! ends in whatever way, the kernel ends every process in them and removes the wire.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::process::{Core, Process, pinned};

/// The servers' end of the wire.
pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 1);
/// The load generator's end of the wire.
pub(crate) const GENERATOR: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 2);

/// The servers' network interface.
pub(crate) const SERVER_INTERFACE: &str = "s0";
const GENERATOR_INTERFACE: &str = "g0";

/// The word by which the bench knows that it runs inside.
pub(crate) const INSIDE: &str = "--inside";

/// Addresses of the wire: both ends and nobody else.
const PREFIX: u8 = 24;

/// Becomes the same bench with the same arguments inside new namespaces; returns only if that is impossible. The shell
/// in between is the first process in there: it leaves Ctrl-C to the bench, and all ends when it ends.
///
/// # Errors
/// If the kernel does not allow it to this user.
pub(crate) fn enter(arguments: &[&str]) -> Result<Infallible> {
    let own: &[&str] = if is_root()? { &[] } else { &["--user", "--map-root-user"] };
    let namespaces = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let allowed = Command::new("unshare").args(own).args(namespaces).arg("true").output();
    let allowed = allowed.context("cannot run unshare; install util-linux")?;
    if !allowed.status.success() {
        bail!(
            "the bench needs network namespaces of its own, and the kernel refuses them ({}); run it as root, or \
             allow them to users: sysctl -w kernel.unprivileged_userns_clone=1 (on Ubuntu: sysctl -w \
             kernel.apparmor_restrict_unprivileged_userns=0)",
            String::from_utf8_lossy(&allowed.stderr).trim()
        );
    }
    let program = std::env::current_exe().context("where is this program?")?;
    let error = Command::new("unshare")
        .args(own)
        .args(namespaces)
        .args(["sh", "-c", "\"$@\"; exit $?", "bench"])
        .arg(program)
        .args(["bench", INSIDE])
        .args(arguments)
        .exec();
    Err(error).context("cannot run unshare")
}

/// The wire, from inside the servers' namespace.
pub(crate) struct Network {
    generator: Process,
    /// Whether each side takes in what arrives on its own core. Only the machine's root can have that.
    pub(crate) is_steered: bool,
}

impl Network {
    /// Makes the generator's namespace and joins it to this one.
    ///
    /// # Errors
    /// If a step fails; what was made so far vanishes with this process.
    pub(crate) fn new(logs: &Path) -> Result<Self> {
        let mut sleeper = Command::new("unshare");
        sleeper.args(["--net", "sleep", "infinity"]);
        let mut generator =
            Process::start("the generator's namespace", sleeper, logs.join("namespace.log"))?;
        let own = namespace("self").context("/proc tells no network namespace")?;
        generator.wait_until(Duration::from_secs(5), |process| {
            namespace(&process.id().to_string()).is_some_and(|other| other != own)
        })?;
        let mut network = Self { generator, is_steered: false };
        network.join().context("cannot join the namespaces")?;
        let steered = network.steer(SERVER_INTERFACE, Core::SERVER);
        let steered = steered.and_then(|()| network.steer(GENERATOR_INTERFACE, Core::GENERATOR));
        match steered {
            Ok(()) => network.is_steered = true,
            Err(error) => println!(
                "as this user the receiver's half of the kernel runs on the sender's core, so all costs are higher than \
                 root would measure ({error:#})"
            ),
        }
        Ok(network)
    }

    /// `program`, to run on the generator's core and in its namespace.
    pub(crate) fn in_generator(&self, program: &Path) -> Command {
        let mut command = pinned(Core::GENERATOR, Path::new("nsenter"));
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/net", self.generator.id()))
    }

    fn join(&self) -> Result<()> {
        let there = self.generator.id().to_string();
        let (server, generator) = (SERVER_INTERFACE, GENERATOR_INTERFACE);
        let pair =
            ["link", "add", server, "type", "veth", "peer", "name", generator, "netns", &there];
        run(Command::new("ip").args(pair))?;
        for (interface, address) in [(server, SERVER), (generator, GENERATOR)] {
            let address = format!("{address}/{PREFIX}");
            self.ip(interface, &["addr", "add", &address, "dev", interface])?;
            self.ip(interface, &["link", "set", interface, "up"])?;
            self.ip(interface, &["link", "set", "lo", "up"])?;
        }
        Ok(())
    }

    /// `ip` on the side where `interface` is.
    fn ip(&self, interface: &str, arguments: &[&str]) -> Result<()> {
        run(self.beside(interface, "ip").args(arguments))
    }

    fn beside(&self, interface: &str, program: &str) -> Command {
        if interface == SERVER_INTERFACE {
            return Command::new(program);
        }
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Has what arrives at `interface` taken in by `core`, as the other machine would (receive packet steering).
    /// Without it the whole receiving half of the kernel runs on the sender's core and in its bill.
    fn steer(&self, interface: &str, core: Core) -> Result<()> {
        let write = format!(
            "mount -t sysfs sysfs /sys && echo {} > /sys/class/net/{interface}/queues/rx-0/rps_cpus",
            core.mask()
        );
        run(self.beside(interface, "unshare").args(["--mount", "sh", "-c", &write]))
    }
}

/// Bytes the servers sent over the wire so far, with the headers of the network.
pub(crate) fn sent_bytes() -> Option<u64> {
    transmitted(&std::fs::read_to_string("/proc/self/net/dev").ok()?, SERVER_INTERFACE)
}

/// The ninth number behind the interface's name; eight about receiving come before it.
fn transmitted(table: &str, interface: &str) -> Option<u64> {
    let mut lines = table.lines().filter_map(|line| line.trim().split_once(':'));
    let (_, numbers) = lines.find(|(name, _)| *name == interface)?;
    numbers.split_whitespace().nth(8)?.parse().ok()
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("cannot run id")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim() == "0")
}

fn namespace(process: &str) -> Option<PathBuf> {
    std::fs::read_link(format!("/proc/{process}/ns/net")).ok()
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        bail!("{command:?} ended with {}: {errors}", output.status);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sent_bytes_are_told_from_received_ones() {
        let table = "Inter-|   Receive | Transmit\n face |bytes packets\n    lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n    \
            s0: 10 20 0 0 0 0 0 0 30 40 0 0 0 0 0 0\n";
        assert_eq!(transmitted(table, "s0"), Some(30));
        assert_eq!(transmitted(table, "g0"), None);
    }
}
