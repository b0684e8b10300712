//! Webhooks: what happens in rooms, told to applications as signed POST requests.
//!
//! Events of one room go to each address in their order, one after another; rooms and addresses do not wait for each
//! other. Every queue is bounded and lossy: an application that is away loses what waited too long or did not fit, and
//! no room waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use livekit_protocol::WebhookEvent;
use roomful_sfu::token::ApiKeys;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::client::{ClientError, HttpClient};
use crate::config::WebhookConfig;
use delivery::Delivery;

mod delivery;

/// Events that may wait on their way from the workers. More hides a program that is stuck, fewer loses some where
/// hundreds join at once.
const CHANNEL_CAPACITY: usize = 4_096;

/// Where workers leave events. Lossy: a worker never waits.
#[derive(Clone)]
pub(crate) struct Notices(mpsc::Sender<Box<WebhookEvent>>);

impl Notices {
    /// Leaves one event.
    pub(crate) fn send(&self, event: Box<WebhookEvent>) {
        if self.0.try_send(event).is_err() {
            tracing::warn!("too many webhook events wait: one is dropped");
        }
    }
}

/// Starts telling. The task ends when every [`Notices`] was dropped and all that waited is told or given up.
///
/// # Errors
/// The TLS library refuses.
pub(crate) fn start(
    config: WebhookConfig,
    keys: ApiKeys,
) -> Result<(Notices, JoinHandle<()>), ClientError> {
    let (sender, events) = mpsc::channel(CHANNEL_CAPACITY);
    let delivery = Arc::new(Delivery::new(HttpClient::new()?, keys, &config));
    let dispatcher =
        Dispatcher { config, delivery, queues: HashMap::new(), deliveries: JoinSet::new() };
    Ok((Notices(sender), tokio::spawn(dispatcher.run(events))))
}

/// One room's events for one address, counted from the first.
type Key = (usize, String);

/// An event and since when it waits.
struct Waiting {
    event: Arc<WebhookEvent>,
    since: Instant,
}

/// Keeps the events of each room in order. A key is in `queues` as long as one of its events is being delivered; those
/// behind it wait there.
struct Dispatcher {
    config: WebhookConfig,
    delivery: Arc<Delivery>,
    queues: HashMap<Key, VecDeque<Waiting>>,
    deliveries: JoinSet<Key>,
}

impl Dispatcher {
    async fn run(mut self, mut events: mpsc::Receiver<Box<WebhookEvent>>) {
        let mut is_open = true;
        while is_open || !self.deliveries.is_empty() {
            tokio::select! {
                event = events.recv(), if is_open => match event {
                    Some(event) => self.take(*event),
                    None => is_open = false,
                },
                Some(done) = self.deliveries.join_next() => match done {
                    Ok(key) => self.go_on(key),
                    Err(error) => tracing::error!(%error, "a webhook delivery failed"),
                },
            }
        }
    }

    fn take(&mut self, event: WebhookEvent) {
        if !self.is_wanted(&event.event) {
            return;
        }
        let room = event.room.as_ref().map(|room| room.name.clone()).unwrap_or_default();
        let event = Arc::new(event);
        for address in 0..self.config.urls.len() {
            let key = (address, room.clone());
            let waiting = Waiting { event: event.clone(), since: Instant::now() };
            match self.queues.get_mut(&key) {
                None => {
                    self.queues.insert(key.clone(), VecDeque::new());
                    self.deliver(key, waiting);
                }
                Some(queue) if queue.len() < self.config.max_depth => queue.push_back(waiting),
                Some(_) => tracing::warn!(event = event.event, "webhook dropped: too many wait"),
            }
        }
    }

    /// The one before is done with: the next that is not too old follows.
    fn go_on(&mut self, key: Key) {
        while let Some(next) = self.queues.get_mut(&key).and_then(VecDeque::pop_front) {
            if next.since.elapsed() <= self.config.max_age {
                return self.deliver(key, next);
            }
            tracing::warn!(event = next.event.event, "webhook dropped: it waited too long");
        }
        self.queues.remove(&key);
    }

    fn deliver(&mut self, key: Key, waiting: Waiting) {
        let Some(url) = self.config.urls.get(key.0).cloned() else { return };
        let delivery = self.delivery.clone();
        self.deliveries.spawn(async move {
            delivery.deliver(&url, &waiting.event).await;
            key
        });
    }

    fn is_wanted(&self, event: &str) -> bool {
        let names = |list: &[String]| list.iter().any(|name| name == event);
        if self.config.include.is_empty() {
            return !names(&self.config.exclude);
        }
        names(&self.config.include)
    }
}
