//! Which of the newest sequence numbers of a stream have been sent.

/// One bit for each of the last [`SentWindow::LEN`] sequence numbers.
#[derive(Debug)]
pub(super) struct SentWindow {
    next: u64,
    after_newest_sent: u64,
    words: [u64; Self::WORDS],
}

impl SentWindow {
    const WORDS: usize = 16;
    /// How late a packet may come and still find its place, in packets. Larger costs memory for every
    /// subscription; smaller refuses packets that receivers are still waiting for (libwebrtc asks for
    /// a thousand, `kMaxNackPackets`).
    pub(super) const LEN: u64 = Self::WORDS as u64 * 64;

    /// A stream that begins at `first`.
    pub(super) fn new(first: u64) -> Self {
        Self { next: first, after_newest_sent: first, words: [0; Self::WORDS] }
    }

    /// The number after the newest that was sent.
    pub(super) fn after_newest_sent(&self) -> u64 {
        self.after_newest_sent
    }

    /// Moves on to `next`; the numbers passed over are places to fill.
    pub(super) fn open(&mut self, next: u64) {
        let opened = next.saturating_sub(self.next).min(Self::LEN);
        for seq in (0..opened).map(|back| next - 1 - back) {
            *self.word(seq) &= !Self::bit(seq);
        }
        self.next = self.next.max(next);
    }

    /// Gives up the places behind the newest that was sent; returns the first of them.
    pub(super) fn give_up_open(&mut self) -> u64 {
        self.next = self.after_newest_sent;
        self.next
    }

    /// Records `seq` as sent.
    pub(super) fn insert(&mut self, seq: u64) {
        let after = seq.wrapping_add(1);
        self.open(after);
        self.after_newest_sent = self.after_newest_sent.max(after);
        *self.word(seq) |= Self::bit(seq);
    }

    /// Whether a packet numbered `seq`, older than the newest, is missing and recent enough to send.
    pub(super) fn has_place_for(&mut self, seq: u64) -> bool {
        seq < self.next && self.next - seq <= Self::LEN && *self.word(seq) & Self::bit(seq) == 0
    }

    fn word(&mut self, seq: u64) -> &mut u64 {
        // The remainder is below WORDS, so it fits any usize.
        &mut self.words[(seq / 64 % Self::WORDS as u64) as usize]
    }

    fn bit(seq: u64) -> u64 {
        1 << (seq % 64)
    }
}
