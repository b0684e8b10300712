//! What a participant sends: frames when they are due, repairs when asked.

use roomful_rtp::Ssrc;

use super::Participant;
use crate::ledger::Ledger;
use crate::media::mark::RunId;
use crate::media::source::{Batch, Sending, Source};
use crate::udp;

impl Participant {
    /// Sends the next frame of a source. Nothing happens before media may flow.
    pub(crate) fn send_frame(&mut self, source: usize, batch: &mut Batch, ledger: &mut Ledger) {
        let mut frame = None;
        self.with_source(source, ledger.run, batch, |source, sending, batch| {
            frame = Some((source.kind, source.write_frame(sending, batch)));
        });
        let Some((kind, sent)) = frame.filter(|_| batch.packets > 0) else { return };
        ledger.count_published(kind, sent, batch.packets as u64);
        if udp::send_batch(&self.socket, &batch.bytes, batch.segment).is_err() {
            ledger.totals.asides.send_failures += 1;
        }
    }

    /// Sends once more what the server missed of the stream `media`.
    pub(super) fn send_repairs(
        &mut self,
        media: Ssrc,
        seqs: impl Iterator<Item = u16>,
        ledger: &mut Ledger,
    ) {
        let Some(index) = self.sources.iter().position(|source| source.ssrc == media) else {
            return;
        };
        let mut batch = std::mem::take(&mut ledger.batch);
        for seq in seqs {
            ledger.totals.asides.repairs_asked += 1;
            let mut found = false;
            self.with_source(index, ledger.run, &mut batch, |source, sending, batch| {
                found = source.write_repair(seq, sending, batch);
            });
            if found {
                // One by one: repaired packets need not have the same length.
                self.send(&batch.bytes);
                ledger.totals.asides.repairs_sent += 1;
            }
        }
        ledger.batch = batch;
    }

    fn with_source(
        &mut self,
        index: usize,
        run: RunId,
        batch: &mut Batch,
        write: impl FnOnce(&mut Source, &mut Sending<'_>, &mut Batch),
    ) {
        batch.clear();
        let (Some(srtp), Some(source)) = (&self.srtp, self.sources.get_mut(index)) else {
            return;
        };
        let mut sending = Sending {
            run,
            publisher: self.id,
            sealer: &srtp.sealer,
            transport_sequence: &mut self.across.next,
        };
        write(source, &mut sending, batch);
    }
}
