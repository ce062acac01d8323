//! Busy: the processes, and what they run.

use ferrokiq::time::EpochSecs;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::widgets::{Row as Cells, Table};

use super::Canvas;
use super::parts::{grouped, memory};
use crate::frame::{ago, printable};
use crate::top::model::Row;

impl Canvas<'_> {
    pub(super) fn busy(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(data) = self.state.shown() else { return };
        let processes = u16::try_from(data.rows.len()).unwrap_or(u16::MAX).saturating_add(3);
        let status = if area.height < 14 { 0 } else { 4 };
        let jobs = if data.work.is_empty() { Constraint::Length(0) } else { Constraint::Fill(1) };
        let table = if data.work.is_empty() { Constraint::Fill(1) } else { Constraint::Max(processes.max(5)) };
        let [status, table, jobs] = Layout::vertical([Constraint::Length(status), table, jobs]).areas(area);
        if status.height > 0 {
            self.status(frame, status);
        }
        let columns = [
            ("Name", Constraint::Fill(1)),
            ("Started", Constraint::Length(12)),
            ("RSS", Constraint::Length(10)),
            ("Threads", Constraint::Length(7)),
            ("Busy", Constraint::Length(6)),
        ];
        self.table(frame, table, "Processes", &columns, |row| {
            let Row::Process(process) = row else { return Vec::new() };
            let quiet = if process.quiet { " (quiet)" } else { "" };
            let tag = process.info["tag"]
                .as_str()
                .filter(|tag| !tag.is_empty())
                .map_or_else(String::new, |tag| format!(" [{tag}]"));
            let started = process.info["started_at"].as_f64().map_or_else(String::new, |at| ago(EpochSecs(at)));
            let name = process.identity.rsplit_once(':').map_or(&*process.identity, |(name, _nonce)| name);
            vec![
                format!("{name}{tag}{quiet}"),
                started,
                memory(process.rss_kb),
                process.concurrency.to_string(),
                process.busy.to_string(),
            ]
        });
        if jobs.height > 0 {
            self.work(frame, jobs);
        }
    }

    fn status(&self, frame: &mut Frame<'_>, area: Rect) {
        let processes =
            || self.state.rows().iter().filter_map(|row| if let Row::Process(it) = row { Some(it) } else { None });
        let (threads, busy): (usize, usize) = processes()
            .fold((0, 0), |(threads, busy), it| (threads.saturating_add(it.concurrency), busy.saturating_add(it.busy)));
        let rss = processes().fold(0_u64, |rss, it| rss.saturating_add(it.rss_kb));
        let percent = (busy as f64 * 100.0 / threads.max(1) as f64).round();
        let pairs = [
            ("Processes", grouped(processes().count() as u64)),
            ("Threads", grouped(threads as u64)),
            ("Busy", grouped(busy as u64)),
            ("Utilization", format!("{percent}%")),
            ("RSS", memory(rss)),
        ];
        self.pairs(frame, area, "Status", &pairs);
    }

    fn work(&self, frame: &mut Frame<'_>, area: Rect) {
        let Some(data) = self.state.shown() else { return };
        let shown = usize::from(area.height.saturating_sub(3));
        let rows = data.work.iter().take(shown).map(|work| {
            let process = work.identity.rsplit_once(':').map_or(&*work.identity, |(name, _nonce)| name);
            let cells = [process, &*work.queue, &*work.record.display_class(), work.record.jid(), &*ago(work.run_at)]
                .map(printable);
            Cells::new(cells)
        });
        let widths = [
            Constraint::Fill(1),
            Constraint::Length(16),
            Constraint::Fill(1),
            Constraint::Length(24),
            Constraint::Length(10),
        ];
        let header = Cells::new(["Process", "Queue", "Job", "JID", "Began"]).style(self.theme.heading());
        let title = format!("Jobs: {}", data.work.len());
        frame.render_widget(Table::new(rows, widths).header(header).block(self.block(&title)), area);
    }
}
