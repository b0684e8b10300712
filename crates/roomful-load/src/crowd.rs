//! The participants of a run: they join, stay, and leave when told to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::engine::Handle;
use crate::participant::ParticipantId;
use crate::signalling::{JoinRecord, Plan, Visit, janus, livekit};

/// Joins under way at once while a room fills, and how many handshakes may go on when one begins. More would measure
/// how the server queues them, or how this program does; fewer make large rooms slow to fill.
const JOINS_AT_ONCE: usize = 32;

/// Pause between two looks whether handshakes are done.
const LOOK: Duration = Duration::from_millis(2);

/// Longest wait for all to leave.
const FAREWELL: Duration = Duration::from_secs(5);

/// The server under test.
#[derive(Debug, Clone)]
pub(crate) enum Server {
    /// Janus with its VideoRoom plugin.
    Janus(janus::Server),
    /// LiveKit's protocol: LiveKit, Roomful.
    LiveKit(livekit::Server),
}

/// See the module text.
pub(crate) struct Crowd {
    server: Arc<Server>,
    engine: Handle,
    sessions: JoinSet<()>,
    stops: HashMap<ParticipantId, oneshot::Sender<()>>,
    records: Arc<Mutex<Vec<JoinRecord>>>,
    joining: Arc<Semaphore>,
    next: u32,
}

impl Crowd {
    pub(crate) fn new(server: Server, engine: Handle) -> Self {
        Self {
            server: Arc::new(server),
            engine,
            sessions: JoinSet::new(),
            stops: HashMap::new(),
            records: Arc::default(),
            joining: Arc::new(Semaphore::new(JOINS_AT_ONCE)),
            next: 0,
        }
    }

    /// A number nobody had.
    pub(crate) fn next_id(&mut self) -> ParticipantId {
        let id = ParticipantId(self.next);
        self.next += 1;
        id
    }

    /// Lets somebody join in the background, as soon as not too many do, or are connecting.
    pub(crate) fn join(&mut self, plan: Plan) {
        let (joining, engine) = (Arc::clone(&self.joining), self.engine.clone());
        self.spawn(plan, async move {
            // Never closed, so there always is a permit.
            let permit = joining.acquire_owned().await.ok();
            while engine.progress().connecting() >= JOINS_AT_ONCE as u64 {
                sleep(LOOK).await;
            }
            permit
        });
    }

    /// Lets somebody join in the background at once, however many do already.
    pub(crate) fn join_now(&mut self, plan: Plan) {
        self.spawn(plan, async { None });
    }

    fn spawn(
        &mut self,
        plan: Plan,
        turn: impl Future<Output = Option<OwnedSemaphorePermit>> + Send + 'static,
    ) {
        let (stop, stopped) = oneshot::channel();
        self.stops.insert(plan.id, stop);
        let server = Arc::clone(&self.server);
        let engine = self.engine.clone();
        let records = Arc::clone(&self.records);
        self.sessions.spawn(async move {
            let permit = turn.await;
            let mut record = JoinRecord {
                id: plan.id,
                started: Instant::now(),
                opened: None,
                admitted: None,
                failure: None,
            };
            let admitted = |record: &JoinRecord| {
                drop(permit);
                lock(&records).push(record.clone());
            };
            let visit = Visit { plan: &plan, engine: &engine, stop: stopped, record: &mut record };
            let outcome = match &*server {
                Server::Janus(server) => janus::participate(server, visit, admitted).await,
                Server::LiveKit(server) => livekit::participate(server, visit, admitted).await,
            };
            if let Err(error) = outcome {
                record.failure = Some(format!("{error:#}"));
                let mut records = lock(&records);
                match records.iter_mut().find(|known| known.id == plan.id) {
                    Some(known) => *known = record,
                    None => records.push(record),
                }
            }
        });
    }

    /// Lets somebody go.
    pub(crate) fn leave(&mut self, id: ParticipantId) {
        if let Some(stop) = self.stops.remove(&id) {
            // Somebody who failed is gone already.
            let _gone = stop.send(());
        }
        while self.sessions.try_join_next().is_some() {}
    }

    /// Waits until so many can exchange media and so many receive some.
    ///
    /// # Errors
    /// If that takes longer than `patience`, or somebody failed; with the reasons.
    pub(crate) async fn settle(
        &self,
        connected: u64,
        receiving: u64,
        patience: Duration,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let progress = self.engine.progress();
            if progress.connected() >= connected && progress.receiving() >= receiving {
                return Ok(());
            }
            let is_over = Instant::now() > deadline;
            if is_over || progress.lost() > 0 || self.has_failures() {
                let mut reasons = self.failures();
                reasons.extend(self.engine.report().await?.reasons);
                reasons.dedup();
                reasons.truncate(5);
                bail!(
                    "only {} of {connected} participants connected and {} of {receiving} received \
                     anything{}{}{}",
                    progress.connected(),
                    progress.receiving(),
                    if is_over { " in time" } else { "" },
                    if reasons.is_empty() { "" } else { ": " },
                    reasons.join("; ")
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    fn has_failures(&self) -> bool {
        lock(&self.records).iter().any(|record| record.failure.is_some())
    }

    /// Why participants failed.
    fn failures(&self) -> Vec<String> {
        lock(&self.records).iter().filter_map(|record| record.failure.clone()).collect()
    }

    /// How everybody's join went.
    pub(crate) fn records(&self) -> Vec<JoinRecord> {
        lock(&self.records).clone()
    }

    /// Lets everybody go, and waits for it.
    pub(crate) async fn leave_all(mut self) {
        for (_, stop) in self.stops.drain() {
            let _gone = stop.send(());
        }
        let all_gone = async { while self.sessions.join_next().await.is_some() {} };
        // Whoever hangs is cut off.
        let _cut_off = timeout(FAREWELL, all_gone).await;
    }
}

/// A panic in another task is reported where it happens; the list is whole all the same.
fn lock(records: &Mutex<Vec<JoinRecord>>) -> std::sync::MutexGuard<'_, Vec<JoinRecord>> {
    records.lock().unwrap_or_else(PoisonError::into_inner)
}
