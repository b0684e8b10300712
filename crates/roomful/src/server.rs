//! The whole server: bound by [`Server::bind`], running in [`Server::run`].

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use roomful_sfu::ids::Origin;
use roomful_sfu::token::{ApiKey, ApiKeys, ApiSecret};
use roomful_sfu::{Seed, SfuConfig, TcpOffer, WallClock};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::addresses::{are_of_this_machine_only, media_addresses};
use crate::agents::{self, AgentMail, AgentsHandle, AgentsTask, Rooms};
use crate::config::{Config, MediaConfig, PageAccess};
use crate::http::{self, Admission, App, Connections, IdentityMaker, Limit};
use crate::lanes::{Lanes, Ufrags};
use crate::placement::{Directory, WorkerIndex};
use crate::udp::UdpSocket;
use crate::webhook;
use crate::worker::{self, Mail, Neighbours, WorkerEnd, WorkerHandle, WorkerSeed};

/// Connections that may wait to be accepted. Larger only lets more of a flood in; smaller refuses
/// people when a meeting of hundreds starts on the hour.
const LISTEN_BACKLOG: u32 = 1024;

/// How long ending the calls may take in all: workers told, last messages taken in, connections
/// and listeners closed. Shorter cuts off people on slow links before they hear why; longer comes
/// near the 10 s after which service supervisors kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// A server whose sockets are bound: from here on clients can connect.
pub struct Server {
    listeners: Vec<TcpListener>,
    lane_listener: Option<TcpListener>,
    ufrags: Arc<Ufrags>,
    workers: Vec<WorkerHandle>,
    directory: Arc<Directory>,
    worker_ends: mpsc::UnboundedReceiver<WorkerEnd>,
    admission: Admission,
    max_connections: NonZeroU32,
    connections_of_one: Limit,
    /// What tells applications; ends after the workers.
    webhooks: Option<JoinHandle<()>>,
    agents: (AgentsHandle, AgentsTask),
    agents_target_load: Option<f32>,
}

impl Server {
    /// Binds every socket and starts the media workers. To be called within a tokio runtime.
    ///
    /// # Errors
    /// A port is taken, an address is not one of this machine, or the system is out of something;
    /// the text says which and what to do.
    pub fn bind(config: Config) -> anyhow::Result<Self> {
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        let mut listeners = Vec::new();
        for address in &config.bind_addresses {
            listeners.push(listen(*address, config.port, "--port")?);
        }
        let lane_listener = match config.media.tcp_port {
            Some(port) => Some(listen(Ipv6Addr::UNSPECIFIED.into(), port, "--tcp-port")?),
            None => None,
        };
        let is_open_for_trial = config.keys.is_empty();
        let keys = if is_open_for_trial { key_for_this_run()? } else { config.keys };
        let rooms_begin_by_themselves = config.rooms.auto_create;
        let presets = config.rooms.presets.keys().cloned().collect();
        let common = SfuConfig {
            media_addresses: Vec::new(),
            tcp: lane_listener.as_ref().and_then(|listener| {
                let port = listener.local_addr().ok()?.port();
                Some(TcpOffer { port, only: config.media.force_tcp })
            }),
            rooms: config.rooms,
            clock: clock(),
            keys: keys.clone(),
            ice_servers: config.media.ice_servers.clone(),
            origin: Origin::default(),
        };
        let (notices, webhooks) = match config.webhooks {
            Some(config) => {
                webhook::start(config, keys.clone()).map(|(one, task)| (Some(one), Some(task)))?
            }
            None => (None, None),
        };
        // Unbounded, but each worker sends exactly one.
        let (ends, worker_ends) = mpsc::unbounded_channel();
        let directory = Directory::new(config.workers.get(), config.spreading, Instant::now());
        let neighbours = Arc::new(Neighbours::default());
        let ufrags = Arc::<Ufrags>::default();
        let agents = agents::channel();
        let mut workers = Vec::new();
        for index in 0..config.workers.get() {
            let (socket, sfu, seed) = media_of_worker(index, &config.media, common.clone())?;
            let seed = WorkerSeed {
                index: WorkerIndex(index),
                neighbours: Arc::clone(&neighbours),
                directory: Arc::clone(&directory),
                ufrags: Arc::clone(&ufrags),
                socket,
                sfu,
                seed,
                notices: notices.clone(),
                agents: agents.0.clone(),
            };
            let worker = worker::spawn(seed, ends.clone());
            workers.push(worker.context("cannot start a media worker")?);
        }
        neighbours.introduce(&workers);
        let admission = Admission {
            keys,
            page_access: config.page_access,
            is_trial: is_open_for_trial,
            loopback_for_all: config.media.enable_loopback_candidate,
            finds_public_address: config.media.node_ip.is_none(),
            rooms_begin_by_themselves,
            presets,
            joins_of_one: config.joins_of_one,
            identities: IdentityMaker::new()?,
        };
        let (max_connections, connections_of_one) =
            (config.max_connections, config.connections_of_one);
        Ok(Self {
            listeners,
            workers,
            directory,
            lane_listener,
            ufrags,
            worker_ends,
            admission,
            max_connections,
            connections_of_one,
            webhooks,
            agents,
            agents_target_load: config.agents_target_load,
        })
    }

    /// Where the page is served, with the real port if the system chose it.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// Serves until `shutdown` completes; then tells everyone, ends the calls and returns.
    ///
    /// # Errors
    /// A media worker or the web server failed: the calls are over, and restarting is the remedy.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> anyhow::Result<()> {
        self.announce();
        let (stop, stopping) = watch::channel(false);
        let (failures, mut failed) = mpsc::channel(self.listeners.len() + 1);
        if let Some(listener) = self.lane_listener {
            let lanes = Lanes::new(&self.workers, self.ufrags, stopping.clone());
            report(lanes.accept(listener), "media over TCP failed", &failures);
        }
        let (agents, task) = self.agents;
        let rooms = Rooms { directory: self.directory.clone(), workers: self.workers.clone() };
        let keys = self.admission.keys.clone();
        let task = task.start(keys, clock(), random_seed()?, rooms, self.agents_target_load);
        let app = App::new(self.admission, self.workers.clone(), self.directory, agents.clone());
        let (limit, share) = (self.max_connections, self.connections_of_one);
        let web = Connections::new(http::router(app), limit, share, stopping);
        for listener in self.listeners {
            report(web.clone().accept(listener), "the web server failed", &failures);
        }

        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            Some(end) = self.worker_ends.recv() => Err(explain_end(end)),
            Some(error) = failed.recv() => Err(error),
        };
        tracing::info!("shutting down");
        let _ = stop.send(true);
        let ended = end_calls(self.workers, self.worker_ends, web, self.webhooks, (agents, task));
        if timeout(STOP_TIMEOUT, ended).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
        tracing::info!("stopped");
        outcome
    }

    /// The last lines of the start: what mode this is, and what to open.
    fn announce(&self) {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workers = self.workers.len(),
            "roomful started"
        );
        if self.admission.is_trial {
            tracing::warn!(
                "no API keys are configured: everybody who reaches this server may join any room; \
                 set LIVEKIT_KEYS or keys in the file to decide who comes in"
            );
        } else if self.admission.page_access == PageAccess::ThisMachine {
            tracing::warn!(
                "API keys are configured: through the built-in page only people at this machine may \
                 join; behind a proxy on this machine, say --open-page=true (everyone) or =false \
                 (nobody)"
            );
        }
        let Some(address) = self.local_addresses().first().copied() else { return };
        tracing::info!(
            "from other machines, browsers give camera and microphone to pages over HTTPS only: \
             put a TLS proxy in front; over plain HTTP people can watch and listen"
        );
        tracing::info!("open http://{}", display_address(address));
    }
}

/// The address to type on this machine.
fn display_address(address: SocketAddr) -> String {
    let ip = address.ip();
    if ip.is_unspecified() || ip.is_loopback() {
        return format!("localhost:{}", address.port());
    }
    address.to_string()
}

/// `[::]` takes IPv4, too; where the machine has no IPv6 it becomes `0.0.0.0`.
fn listen(ip: IpAddr, port: u16, flag: &str) -> anyhow::Result<TcpListener> {
    let address = SocketAddr::new(ip, port);
    let result = match try_listen(address) {
        Err(error) if ip == Ipv6Addr::UNSPECIFIED && error.kind() != io::ErrorKind::AddrInUse => {
            try_listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port))
        }
        result => result,
    };
    result.map_err(|error| explain_bind(&error, "TCP", address, flag))
}

fn try_listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart shall not wait for connections of the run before to time out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_BACKLOG)
}

/// Where a worker's media arrives, what its core is to know, and what decides its choices.
fn media_of_worker(
    index: usize,
    media: &MediaConfig,
    common: SfuConfig,
) -> anyhow::Result<(UdpSocket, SfuConfig, Seed)> {
    let port = match media.udp_port {
        0 => 0,
        first => u16::try_from(index)
            .ok()
            .and_then(|index| first.checked_add(index))
            .context("the UDP ports of the workers go beyond 65535: lower --udp-port")?,
    };
    let address = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    let socket = UdpSocket::bind(address)
        .map_err(|error| explain_bind(&error, "UDP", address, "--udp-port"))?;
    let port = socket.local_addr().port();
    let media_addresses = media_addresses(media, port)?;
    if index == 0 && are_of_this_machine_only(&media_addresses) {
        tracing::warn!(
            "calls work on this machine only: no network interface that may be used has an address \
             that others can reach; where that is not meant, connect to a network and start again"
        );
    }
    tracing::debug!(index, ?media_addresses, "media worker listens");
    let sfu = SfuConfig { media_addresses, origin: WorkerIndex(index).origin(), ..common };
    Ok((socket, sfu, random_seed()?))
}

fn random_seed() -> anyhow::Result<Seed> {
    let mut seed = [0; 8];
    getrandom::fill(&mut seed).context("the system gave no randomness")?;
    Ok(Seed(u64::from_ne_bytes(seed)))
}

fn clock() -> WallClock {
    WallClock::new(Instant::now(), unix_millis())
}

/// A clock before 1970 counts as 1970.
fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn explain_bind(
    error: &io::Error,
    protocol: &str,
    address: SocketAddr,
    flag: &str,
) -> anyhow::Error {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "{protocol} port {port} is in use: is Roomful (or another server) already running? \
             Stop it, or choose another port with {flag}"
        ),
        io::ErrorKind::PermissionDenied => anyhow::anyhow!(
            "{protocol} port {port} may not be used by this account: choose one above 1023 with \
             {flag}"
        ),
        io::ErrorKind::AddrNotAvailable => anyhow::anyhow!(
            "{} is not an address of this machine: check --bind (bind_addresses)",
            address.ip()
        ),
        _ => anyhow::anyhow!("cannot listen on {protocol} {address}: {error}"),
    }
}

/// Open mode: a key that nobody knows and that ends with this run.
fn key_for_this_run() -> anyhow::Result<ApiKeys> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system gave no randomness")?;
    let secret: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut keys = ApiKeys::default();
    keys.insert(ApiKey::new("roomful-trial"), ApiSecret::new(secret));
    Ok(keys)
}

/// Everyone is told; completes when the last worker, the last connection and the last webhook have ended.
async fn end_calls(
    workers: Vec<WorkerHandle>,
    mut worker_ends: mpsc::UnboundedReceiver<WorkerEnd>,
    connections: Connections,
    webhooks: Option<JoinHandle<()>>,
    (agents, agents_task): (AgentsHandle, JoinHandle<()>),
) {
    for worker in workers {
        // Each on its own: one with a full mailbox does not hold up the others.
        tokio::spawn(async move { worker.send(Mail::Shutdown).await });
    }
    while worker_ends.recv().await.is_some() {}
    // Not before: rooms that end have their jobs ended.
    if agents.send(AgentMail::Shutdown).await.is_ok()
        && let Err(error) = agents_task.await
    {
        tracing::warn!(%error, "the agencies failed");
    }
    connections.closed().await;
    if let Some(webhooks) = webhooks
        && let Err(error) = webhooks.await
    {
        tracing::warn!(%error, "the webhooks failed");
    }
}

fn explain_end(end: WorkerEnd) -> anyhow::Error {
    match end {
        WorkerEnd::Finished => anyhow::anyhow!("a media worker stopped unasked"),
        WorkerEnd::Failed(error) => {
            anyhow::Error::new(error).context("a media worker cannot go on")
        }
        WorkerEnd::Panicked => {
            anyhow::anyhow!("a media worker failed by an internal error, logged above")
        }
    }
}

/// Runs a part of the server in the background; the whole ends if it fails.
fn report(
    part: impl Future<Output = io::Result<()>> + Send + 'static,
    failed: &'static str,
    failures: &mpsc::Sender<anyhow::Error>,
) {
    let failures = failures.clone();
    tokio::spawn(async move {
        if let Err(error) = part.await {
            let _ = failures.send(anyhow::Error::new(error).context(failed)).await;
        }
    });
}
