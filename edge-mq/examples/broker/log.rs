//! Where the broker's events go, as text or JSON.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::settings::{Log, LogFormat};

/// The log of the whole process, as it can change while it runs.
pub(crate) struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    output: Arc<Output>,
    settings: Log,
}

/// Where lines are written.
struct Output(Mutex<Option<File>>);

impl Output {
    fn of(log: &Log) -> io::Result<Option<File>> {
        let open = |path| OpenOptions::new().create(true).append(true).open(path);
        log.file.as_ref().map(open).transpose()
    }
}

/// Each line comes in one piece.
impl Write for &Output {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(file) => file.write(line),
            None => io::stderr().write(line),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Logging {
    /// From here on all events go there. Once in a process.
    pub(crate) fn start(settings: Log) -> io::Result<Logging> {
        let output = Arc::new(Output(Mutex::new(Output::of(&settings)?)));
        let (filter, level) = reload::Layer::new(settings.level);
        let lines = lines(&settings, Arc::clone(&output));
        let subscriber = Registry::default().with(filter).with(lines);
        tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)?;
        Ok(Logging { level, output, settings })
    }

    /// Puts another level and another file in force, and opens the file anew: somebody may have moved
    /// it away. Gives what needs a restart.
    pub(crate) fn change(&mut self, log: Log) -> io::Result<Option<&'static str>> {
        let file = Output::of(&log)?;
        *self.output.0.lock().unwrap_or_else(PoisonError::into_inner) = file;
        // It lives as long as the process.
        self.level.reload(log.level).map_err(io::Error::other)?;
        let Log { level, file, .. } = log;
        let is_changed = log.format != self.settings.format || log.time != self.settings.time;
        self.settings = Log { level, file, ..self.settings };
        Ok(is_changed.then_some("how [log] writes"))
    }
}

fn lines<S>(log: &Log, output: Arc<Output>) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let layer = fmt::layer().with_writer(output);
    // systemd's journal has the time of each line.
    let has_journal = log.file.is_none() && std::env::var_os("JOURNAL_STREAM").is_some();
    let has_time = log.time.unwrap_or(!has_journal);
    match (log.format, has_time) {
        (LogFormat::Text, true) => layer.with_target(false).boxed(),
        (LogFormat::Text, false) => layer.with_target(false).without_time().boxed(),
        (LogFormat::Json, true) => layer.json().flatten_event(true).boxed(),
        (LogFormat::Json, false) => layer.json().flatten_event(true).without_time().boxed(),
    }
}
