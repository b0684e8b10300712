//! A server on ports of the system's choice, and runs of the generator against it.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::JoinHandle;

use clap::Parser as _;
use roomful::config::Flags;
use roomful::{Config, Server};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

const KEY: &str = "load-test";
const SECRET: &str = "a secret of more than thirty-two bytes";

/// A running server. It ends when dropped.
pub(crate) struct Stage {
    pub(crate) address: SocketAddr,
    /// Where it receives media.
    pub(crate) media: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Stage {
    pub(crate) fn start() -> Self {
        let media = free_address();
        let flags = [
            "roomful",
            "--port=0",
            &format!("--udp-port={}", media.port()),
            "--tcp-port=off",
            "--workers=1",
            "--bind=127.0.0.1",
            &format!("--keys={KEY}: {SECRET}"),
        ];
        let flags = Flags::parse_from(flags);
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let server = Server::bind(Config::from_flags(flags).unwrap()).unwrap();
        drop(entered);
        let port = server.local_addresses()[0].port();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let stopped = async {
                let _ = stopped.await;
            };
            runtime.block_on(server.run(stopped)).unwrap();
        });
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        Self { address, media, stop: Some(stop), thread: Some(thread) }
    }

    /// Runs the generator with these arguments; what it reported and how it ended.
    pub(crate) fn load(&self, arguments: &[&str]) -> Run {
        self.load_with_secret(arguments, SECRET)
    }

    pub(crate) fn load_with_secret(&self, arguments: &[&str], secret: &str) -> Run {
        let directory = tempfile::tempdir().unwrap();
        let json = directory.path().join("report.json");
        let url = format!("ws://{}", self.address);
        let own = std::process::id().to_string();
        let json_path = json.to_str().unwrap();
        let common = ["--url", &url, "--key", KEY, "--secret", secret, "--warmup", "0.5"];
        let common = common.into_iter().chain(["--server-pid", &own, "--json", json_path]);
        let all = ["roomful-load"].into_iter().chain(arguments.iter().copied()).chain(common);
        let exit = roomful_load::run(all);
        let report = std::fs::read_to_string(json).ok();
        Run { exit, report: report.map(|text| serde_json::from_str(&text).unwrap()) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = self.stop.take().unwrap().send(());
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

/// A UDP address that nobody uses, and that the system does not give to anybody either: its own choices are
/// above (32,768 and up, `ip_local_port_range`).
pub(crate) fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Test processes beside this one begin elsewhere.
    let begin = 20_000 + (std::process::id() % 500) as u16 * 20;
    (0..20)
        .map(|_| begin + NEXT.fetch_add(1, Ordering::Relaxed) % 20)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| UdpSocket::bind(address).is_ok())
        .expect("a free port")
}

/// One run of the generator.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) exit: ExitCode,
    pub(crate) report: Option<Value>,
}

impl Run {
    /// A figure of the report, by its path.
    pub(crate) fn figure(&self, path: &str) -> f64 {
        let report = self.report.as_ref().expect("a report");
        report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("{path} in {report}"))
    }

    /// What makes it void, but for a machine so busy that the generator's share is over its bound.
    pub(crate) fn fault(&self) -> Option<&str> {
        let fault = self.report.as_ref().expect("a report")["void"].as_str();
        fault.filter(|fault| !fault.starts_with("the generator used"))
    }
}
