//! What is run, and which figures come of it.

use std::path::PathBuf;

use tempfile::TempDir;

use super::Sheet;
use super::child::{Cores, Said, run};
use super::data::{Answer, Data, Habit, compare, read, sessions, windows};
use super::gateway;
use super::peer::Peer;
use super::work::Work;
use crate::Result;
use crate::metric::Metric;
use crate::options::Options;
use crate::runs::Often;

type Run = crate::runs::Run<Work, Peer, Bench>;

/// Rows and answers that all rounds share.
#[derive(Debug)]
pub(super) struct Bench {
    dir: TempDir,
    steady: Lines,
    bursts: Lines,
    tumbling: Answer,
    hopping: Answer,
    sessions: Answer,
    options: Options,
}

/// Rows as a file of JSON lines.
#[derive(Debug)]
struct Lines {
    path: PathBuf,
    data: Data,
}

impl Bench {
    /// Writes the rows, and computes what is to come of them.
    pub(super) fn new(options: &Options) -> Result<Bench> {
        let rows = if options.quick { 1_000_000 } else { 2_000_000 };
        let dir = tempfile::tempdir_in(&options.dir)?;
        let lines = |name: &str, devices, habit| {
            let (path, data) = (dir.path().join(name), Data { rows, devices, habit });
            eprintln!("writing {rows} rows of {devices} devices");
            data.write(&path)?;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Lines { path, data })
        };
        let steady = lines("steady.jsonl", 1_000, Habit::Steady)?;
        let bursts = lines("bursts.jsonl", 10_000, Habit::Bursts)?;
        eprintln!("computing the answers");
        let tumbling = windows(steady.data.readings(), 10_000, 10_000);
        let hopping = match options.wants("hop") {
            true => windows(steady.data.readings(), 60_000, 1_000),
            false => Answer::new(),
        };
        let sessions = sessions(bursts.data.readings(), 5_000);
        let options = options.clone();
        Ok(Bench { dir, steady, bursts, tumbling, hopping, sessions, options })
    }
}

const fn each_round(
    works: &'static [Work],
    engines: &'static [Peer],
    measure: fn(&Bench, &mut Sheet) -> Result<()>,
) -> Run {
    Run { works, engines, often: Often::EachRound, measure }
}

/// In the order of a round: what is compared with each other lies close together.
pub(super) const RUNS: [Run; 12] = [
    each_round(
        &[Work::Tumble],
        &[Peer::EdgeStream, Peer::DataFusion, Peer::DuckDb],
        |bench, sheet| {
            let task = Task { work: Work::Tumble, name: "tumble", cores: Cores::One };
            task.run(bench, sheet, &bench.steady, &bench.tumbling).map(drop)
        },
    ),
    // It takes a minute.
    Run {
        works: &[Work::Tumble],
        engines: &[Peer::Bytewax],
        often: Often::OnceUnlessQuick,
        measure: |bench, sheet| {
            let task = Task { work: Work::Tumble, name: "tumble", cores: Cores::One };
            task.run(bench, sheet, &bench.steady, &bench.tumbling).map(drop)
        },
    },
    each_round(&[Work::TumbleDurable], &[Peer::EdgeStream], |bench, sheet| {
        let task = Task { work: Work::TumbleDurable, name: "tumble-durable", cores: Cores::One };
        task.run(bench, sheet, &bench.steady, &bench.tumbling).map(drop)
    }),
    each_round(&[Work::TumbleTwoCores], &[Peer::EdgeStream], |bench, sheet| {
        let task = Task { work: Work::TumbleTwoCores, name: "tumble-durable", cores: Cores::Two };
        task.run(bench, sheet, &bench.steady, &bench.tumbling).map(drop)
    }),
    each_round(&[Work::Hop], &[Peer::EdgeStream], |bench, sheet| {
        let task = Task { work: Work::Hop, name: "hop", cores: Cores::One };
        task.run(bench, sheet, &bench.steady, &bench.hopping).map(drop)
    }),
    each_round(&[Work::Session], &[Peer::EdgeStream], |bench, sheet| {
        let task = Task { work: Work::Session, name: "session", cores: Cores::One };
        task.run(bench, sheet, &bench.bursts, &bench.sessions).map(drop)
    }),
    each_round(&[Work::Jobs], &[Peer::EdgeStream], |bench, sheet| {
        let task = Task { work: Work::Jobs, name: "jobs-100", cores: Cores::Two };
        let said = task.run(bench, sheet, &bench.steady, &bench.tumbling)?;
        let cores = said.number("cpu")? / said.number("seconds")?;
        sheet.record(Work::Jobs, Metric::Cores, cores);
        Ok(())
    }),
    each_round(&[Work::Groups], &[Peer::EdgeStream], |bench, sheet| {
        let said = run(sheet.engine, "groups-1m", Cores::One, bench.dir.path(), bench.dir.path())?;
        sheet.record(Work::Groups, Metric::BytesPerGroup, said.number("bytes")?);
        Ok(())
    }),
    each_round(&[Work::Restart], &[Peer::EdgeStream], |bench, sheet| {
        let dir = tempfile::tempdir_in(bench.dir.path())?;
        let answer = dir.path().join("answer");
        let said = run(sheet.engine, "restart-1m", Cores::Two, bench.dir.path(), &answer)?;
        sheet.record(Work::Restart, Metric::OpenMs, said.number("open_ms")?);
        Ok(())
    }),
    each_round(&[Work::MqttToMqtt], &[Peer::EdgeStream], |bench, sheet| {
        gateway::relay(&bench.options, sheet)
    }),
    each_round(&[Work::MqttJournal], &[Peer::EdgeStream], |bench, sheet| {
        gateway::count(&bench.options, sheet, Work::MqttJournal)
    }),
    each_round(&[Work::MqttToView], &[Peer::EdgeStream], |bench, sheet| {
        gateway::count(&bench.options, sheet, Work::MqttToView)
    }),
];

/// Lines in, an answer out.
struct Task {
    work: Work,
    /// As edge-stream's process knows it.
    name: &'static str,
    cores: Cores,
}

impl Task {
    fn run(
        &self,
        bench: &Bench,
        sheet: &mut Sheet,
        lines: &Lines,
        expected: &Answer,
    ) -> Result<Said> {
        let dir = tempfile::tempdir_in(bench.dir.path())?;
        let answer = dir.path().join("answer");
        let said = run(sheet.engine, self.name, self.cores, &lines.path, &answer)?;
        let rows = lines.data.rows as f64;
        sheet.record(self.work, Metric::PerSecond, rows / said.number("seconds")?);
        sheet.record(self.work, Metric::CpuUs, said.number("cpu")? * 1e6 / rows);
        sheet.record(self.work, Metric::PeakMb, said.number("peak_kib")? * 1024.0 / 1e6);
        if sheet.engine == Peer::EdgeStream && said.number("late")? != 0.0 {
            return Err("rows were late".into());
        }
        compare(&read(&answer)?, expected)?;
        Ok(said)
    }
}
