//! edge-stream against batch and streaming engines.

#[cfg(feature = "stream")]
mod batch;
mod child;
#[cfg(feature = "stream")]
mod clock;
mod data;
mod floors;
mod gateway;
mod measure;
#[cfg(feature = "stream")]
mod own;
mod peer;
mod report;
mod work;

use std::process::ExitCode;

pub(crate) use child::STREAM_CHILD;

use self::floors::floors;
use self::measure::{Bench, RUNS};
use self::peer::{Peer, about_packages};
use self::work::Work;
use crate::figures::Case;
#[cfg(feature = "stream")]
use crate::figures::Contender;
use crate::options::{Options, Program};
use crate::report::{conclude, json_file};
use crate::{Result, runs};

type Bound = crate::floors::Bound<Work, Peer>;
type Figure = crate::figures::Figure<Work, Peer>;
type Figures = crate::figures::Figures<Work, Peer>;
type Floor = crate::floors::Floor<Work, Peer>;
type Sheet<'a> = crate::figures::Sheet<'a, Work, Peer>;

const ABOUT: &str = "\
edge-stream against engines that answer SQL or windows over rows: rows per second, what they take of
processor and memory, and whether the answers are right. 2 million JSON lines (1 million with --quick),
engines in processes of their own. Ends with edge-stream's floors; exit code 1 when one of them does
not hold.";

/// The subcommand `stream`.
pub(crate) fn main(parser: lexopt::Parser) -> ExitCode {
    let cases = Work::ALL.iter().map(|work| work.name()).collect();
    let program =
        Program { name: "stream", about: ABOUT, cases, seconds: 4, rounds: 5, quick: (2, 2) };
    program.main(parser, compare)
}

fn compare(options: &Options) -> Result<ExitCode> {
    let json = json_file(options)?;
    let figures = runs::measure(&RUNS, &Bench::new(options)?, options);
    println!("Rounds: {}. Medians of the rounds.", options.rounds);
    println!("{}\n", about_packages());
    conclude(&figures, &floors(), &[report::table(&figures)], json)
}

/// Is one of the engines: `stream-child ID TASK LINES ANSWER CORES`.
pub(crate) fn child(mut parser: lexopt::Parser) -> ExitCode {
    match task(&mut parser) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("engine: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(not(feature = "stream"))]
fn task(_: &mut lexopt::Parser) -> Result<()> {
    Err("this program was built without the feature `stream`".into())
}

#[cfg(feature = "stream")]
fn task(parser: &mut lexopt::Parser) -> Result<()> {
    use std::path::PathBuf;

    use lexopt::ValueExt;

    let (id, task) = (parser.value()?.string()?, parser.value()?.string()?);
    let (lines, answer) = (PathBuf::from(parser.value()?), PathBuf::from(parser.value()?));
    let cores = parser.value()?.parse()?;
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(cores).enable_all().build()?;
    runtime.block_on(async {
        match (task.strip_suffix("-durable"), task.as_str()) {
            _ if id == Peer::DataFusion.id() => batch::run(&lines, &answer, cores).await,
            _ if id != Peer::EdgeStream.id() => Err(format!("no engine `{id}`").into()),
            (Some(task), _) => own::engine(task, &lines, &answer).await,
            (None, "jobs-100") => own::jobs(&lines, &answer).await,
            (None, "groups-1m") => own::groups().await,
            (None, "restart-1m") => own::restart(&answer).await,
            // The address stands in the place of the lines, a folder in that of the answer.
            (None, task) if task.starts_with("mqtt-") => {
                own::serve(task, lines.to_str().unwrap_or_default().parse()?, &answer).await
            }
            (None, task) => own::pipeline(task, &lines, &answer).await,
        }
    })
}
