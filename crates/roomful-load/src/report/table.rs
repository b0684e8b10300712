//! The report as text.

use std::fmt::Write as _;

use super::{Percentiles, Report};

impl Report {
    /// Lines of a name and a value, and a last one that says whether the run counts.
    pub(crate) fn table(&self) -> String {
        let mut table = Table::default();
        let (media, loss) = (&self.media, &self.loss);
        table.row("workload", format!("{}, {} participants", self.workload, self.participants));
        table.row("measured", format!("{:.1} s", self.seconds));
        table.row("SRTP", &self.srtp);
        table.row("packets published", media.packets_published);
        if let Some(expected) = media.packets_expected {
            table.row("packets expected", expected);
        }
        table.row("packets received", media.packets_received);
        if let Some(expected) = media.video_expected {
            let percent = 100.0 * media.video_received as f64 / expected.max(1) as f64;
            let share = format!("{} of {expected} ({percent:.1} %)", media.video_received);
            table.row("packets of pictures wished for", share);
        }
        if let Some(expected) = media.audio_expected {
            let share = format!("{} of {expected}", media.audio_received);
            table.row("packets of sound wished for", share);
        }
        let lost = format!("{} ({:.4} %)", loss.packets_lost, loss.loss_percent);
        table.row("packets lost", lost);
        let missing = format!("{} ({:.4} %)", loss.packets_missing, loss.missing_percent);
        table.row("  before repair", missing);
        let others = (loss.packets_repaired, loss.packets_reordered, self.asides.duplicates);
        table.row(
            "repaired, reordered, duplicated",
            format!("{}, {}, {}", others.0, others.1, others.2),
        );
        table.row("content errors", loss.content_errors);
        table.percentiles("latency", media.latency_us, "µs");
        table.percentiles("latency of those passing", media.passing_latency_us, "µs");
        table.row("longest gap in a stream", format!("{:.1} ms", media.longest_gap_ms));
        if let Some(rate) = self.joins.joins_per_second {
            let unfinished = self.joins.joins_unfinished;
            table.row("joins", format!("{rate:.1} a second, {unfinished} unfinished"));
        }
        table.percentiles("join to first packet", self.joins.join_ms, "ms");
        table.percentiles("join to first picture", self.joins.join_picture_ms, "ms");
        for (name, phase) in self.joins.join_phases_ms.named() {
            table.percentiles(&format!("  {name}"), phase, "ms");
        }
        self.costs(&mut table);
        if self.failed.failures > 0 {
            table.row("failed participants", self.failed.failures);
        }
        match &self.void {
            Some(reason) => table.row("VOID", reason),
            None => table.row("verdict", "the run counts"),
        }
        table.text
    }

    fn costs(&self, table: &mut Table) {
        let server = &self.server;
        if let Some(cost) = server.cpu_us_per_forwarded_packet {
            table.row("server CPU per forwarded packet", format!("{cost:.2} µs"));
        }
        if let Some(share) = server.server_share {
            table.row("server CPU", format!("{:.1} % of a core", 100.0 * share));
        }
        if let (Some(before), Some(after)) =
            (server.server_rss_kb_before, server.server_rss_kb_after)
        {
            table.row("server memory", format!("{before} kB, then {after} kB"));
        }
        table.row("generator CPU", format!("{:.1} % of a core", 100.0 * self.generator_share));
    }
}

#[derive(Default)]
struct Table {
    text: String,
}

impl Table {
    fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        // Writing into a string cannot fail.
        let _always_ok = writeln!(self.text, "{name:<34}{value}");
    }

    fn percentiles(&mut self, name: &str, values: Option<Percentiles>, unit: &str) {
        let Some(Percentiles { p50, p90, p99, max, .. }) = values else { return };
        let digits = if unit == "ms" { 1 } else { 0 };
        let values = format!(
            "p50 {p50:.digits$}  p90 {p90:.digits$}  p99 {p99:.digits$}  max {max:.digits$} {unit}"
        );
        self.row(name, values);
    }
}
