//! What the core of a worker asks for.

use std::sync::Arc;
use std::time::Instant;

use roomful_sfu::ids::ConnectionId;
use roomful_sfu::{Output, SfuEvent};

use super::State;
use crate::worker::outbox::SendError;
use crate::worker::{CloseCause, SharedMessage};

impl State {
    /// Does everything it asks for.
    pub(super) fn drain(&mut self, now: Instant) {
        // Connections found broken while draining: the core hears of them after the drain, which
        // makes it speak again.
        let mut broken = Vec::new();
        let mut broken_links = Vec::new();
        loop {
            match self.sfu.poll_output() {
                Output::Message { connection, message } => {
                    let Some(outbox) = self.outboxes.get(&connection) else { continue };
                    if let Err(error) = outbox.send(message) {
                        self.close_broken(connection, error);
                        broken.push(connection);
                    }
                }
                Output::MessageToAll { connections, message } => {
                    let message = Arc::new(SharedMessage::new(*message));
                    for connection in connections {
                        let Some(outbox) = self.outboxes.get(&connection) else { continue };
                        if let Err(error) = outbox.send_shared(&message) {
                            self.close_broken(connection, error);
                            broken.push(connection);
                        }
                    }
                }
                Output::Ping { connection } => {
                    // One that has no room for it has other news to answer.
                    if let Some(outbox) = self.outboxes.get(&connection) {
                        outbox.ping();
                    }
                }
                Output::Close { connection } => {
                    if let Some(outbox) = self.outboxes.remove(&connection) {
                        outbox.close(CloseCause::Finished);
                    }
                }
                Output::Reply { request, outcome } => {
                    if let Some(asked) = self.asked.remove(&request) {
                        // Whoever asked may have given up.
                        let _ = asked.send(outcome);
                    }
                }
                Output::Link { link, message } => {
                    if !self.links.send(link, message) {
                        broken_links.push(link);
                    }
                }
                Output::LinkClosed { link } => self.links.close(link),
                Output::Notice(event) => {
                    if let Some(notices) = &self.notices {
                        notices.send(event);
                    }
                }
                Output::Reachable { ufrag } => self.ufrags.insert(ufrag, self.index),
                Output::Unreachable { ufrag } => self.ufrags.remove(&ufrag),
                Output::Agents(request) => self.agents.ask(request),
                Output::Event(event) => {
                    log_event(&event);
                    self.directory.handle_event(self.index, &event);
                }
                Output::Timeout(at) => {
                    if let Some(connection) = broken.pop() {
                        self.sfu.handle_disconnect(connection, now);
                    } else if let Some(link) = broken_links.pop() {
                        self.sfu.handle_link_closed(link, now);
                    } else {
                        self.next_timeout = at;
                        return;
                    }
                }
            }
        }
    }

    /// Ends a connection on which something cannot be sent.
    fn close_broken(&mut self, connection: ConnectionId, error: SendError) {
        // Of one that is gone, its own task logs why.
        if let Some(outbox) = self.outboxes.remove(&connection)
            && error == SendError::Full
        {
            tracing::info!(connection = connection.0, "closed: reads too slowly");
            outbox.close(CloseCause::TooSlow);
        }
    }
}

/// Room names are chosen by people and may name them: above debug a room is only counted.
fn log_event(event: &SfuEvent) {
    match event {
        SfuEvent::RoomStarted(room) => {
            tracing::info!("room started");
            tracing::debug!(%room, "room started");
        }
        SfuEvent::RoomEnded(room) => {
            tracing::info!("room ended");
            tracing::debug!(%room, "room ended");
        }
    }
}
