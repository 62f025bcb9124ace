//! The settings of the broker, read from a file: every mistake in it is found at once.

mod access;
#[cfg(feature = "bridge")]
mod bridge;
#[cfg(feature = "jwt")]
mod jwt;
mod limits;
mod listener;
mod log;
mod place;
mod reference;
mod rule;
mod section;
mod tls;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, fs};

use edge_mq::access::Rules;
use edge_mq::{Limits, TopicFilter};
use toml::de::DeTable;

#[cfg(feature = "bridge")]
pub(crate) use self::bridge::NamedBridge;
pub(crate) use self::listener::{Door, Listen};
pub(crate) use self::log::{Log, LogFormat};
use self::place::Place;
use self::section::{Document, Section};
use super::arguments::Overrides;
use super::mistakes::{Mistake, Mistakes};

/// Everything that the file and the command line say, ready to be used.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where they are from; `None` without a file.
    pub(crate) file: Option<PathBuf>,
    pub(crate) data: Option<PathBuf>,
    pub(crate) sys_interval: Duration,
    pub(crate) durable_within: Duration,
    pub(crate) shutdown_within: Duration,
    pub(crate) log: Log,
    pub(crate) limits: Limits,
    pub(crate) listeners: Vec<Listen>,
    /// Who may do what; everybody everything without it.
    pub(crate) rules: Option<Rules>,
    pub(crate) journal: Vec<JournalRule>,
    #[cfg(feature = "bridge")]
    pub(crate) bridges: Vec<NamedBridge>,
}

/// Messages that are stored in a Log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalRule {
    pub(crate) filter: TopicFilter,
    pub(crate) log: String,
}

impl fmt::Display for JournalRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` into the Log `{}`", self.filter, self.log)
    }
}

impl Settings {
    /// Reads a file, with all that it names, and puts what the command line says in its place.
    pub(crate) fn read(
        file: Option<&Path>,
        overrides: &Overrides,
    ) -> Result<Settings, Vec<Mistake>> {
        let Some(path) = file else { return Settings::of(Path::new("broker"), "", overrides) };
        match fs::read_to_string(path) {
            Ok(text) => {
                let settings = Settings::of(path, &text, overrides)?;
                Ok(Settings { file: Some(path.to_owned()), ..settings })
            }
            Err(error) => {
                let what = format!("cannot be read: {error}");
                Err(vec![Mistake { file: path.to_owned(), line: None, what }])
            }
        }
    }

    /// What a text says; its paths are as seen from the folder of `file`.
    pub(crate) fn of(
        file: &Path,
        text: &str,
        overrides: &Overrides,
    ) -> Result<Settings, Vec<Mistake>> {
        let mistakes = Mistakes::default();
        let document = Document { file, text, mistakes: &mistakes };
        let settings = match DeTable::parse(text) {
            Ok(tree) => Some(Settings::take(&document.root(tree.get_ref()), overrides)),
            Err(error) => {
                let line = error.span().map(|place| document.line(&place));
                let is_conf = line.and_then(|line| text.lines().nth(line - 1)).is_some_and(is_conf);
                let hint = if is_conf { "; of a mosquitto.conf, `--import` makes it" } else { "" };
                mistakes.add(file, line, format!("this is no TOML: {}{hint}", error.message()));
                None
            }
        };
        let mistakes = mistakes.into_sorted();
        settings.filter(|_| mistakes.is_empty()).ok_or(mistakes)
    }

    fn take(root: &Section<'_>, overrides: &Overrides) -> Settings {
        let limits = limits::limits(root.table("limits").as_ref());
        let access = access::Access::take(root);
        let mut listeners: Vec<_> = root
            .tables("listener")
            .iter()
            .filter_map(|section| Listen::take(section, &access))
            .collect();
        if !root.has("listener") {
            listeners.extend(Listen::take(&root.empty(&DeTable::new()), &access));
        }
        let has_port = |listen: &&mut Listen| matches!(listen.door.place, Place::Tcp(_));
        if let (Some(port), Some(first)) = (overrides.port, listeners.iter_mut().find(has_port)) {
            first.door.place.set_port(port);
        }
        listener::each_place_once(&listeners, root);
        let data = overrides.data.clone().or(root.path("data"));
        let mut settings = Settings {
            file: None,
            sys_interval: root.get("sys_interval").unwrap_or(Duration::from_secs(10)),
            durable_within: root.get("durable_within").unwrap_or_default(),
            shutdown_within: root.get("shutdown_within").unwrap_or(Duration::from_secs(5)),
            log: Log::take(root.table("log").as_ref()),
            limits,
            listeners,
            rules: access.rules,
            journal: root.tables("journal").iter().filter_map(journal_rule).collect(),
            #[cfg(feature = "bridge")]
            bridges: bridge::bridges(root),
            data,
        };
        settings.journal.extend(overrides.journal.iter().cloned());
        settings.check_data(root);
        #[cfg(not(feature = "bridge"))]
        not_built(root, "bridge", "bridges", root.tables("bridge"));
        settings
    }

    /// What needs a database has one, and it can lie where it is to lie.
    fn check_data(&self, root: &Section<'_>) {
        let in_the_way =
            self.data.as_ref().and_then(|data| data.ancestors().find(|path| path.exists()));
        if let Some(path) = in_the_way.filter(|path| !path.is_dir()) {
            root.wrong("data", format!("`data`: {} is no folder", path.display()));
        }
        if self.data.is_some() {
            return;
        }
        if !self.durable_within.is_zero() {
            root.wrong(
                "durable_within",
                "nothing is stored without a database: set `data` to a folder",
            );
        }
        if root.has("journal") || !self.journal.is_empty() {
            root.wrong("journal", "messages are stored in a database: set `data` to a folder");
        }
        #[cfg(feature = "bridge")]
        if root.has("bridge") {
            root.wrong("bridge", "a bridge has its queue in a database: set `data` to a folder");
        }
    }
}

/// Whether a line could be an option of mosquitto: two words and no `=`.
fn is_conf(line: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c == '_';
    let option = line.trim().split_once(' ').map(|(option, _)| option);
    option.is_some_and(|option| option.chars().all(is_word)) && !line.contains('=')
}

fn journal_rule(section: &Section<'_>) -> Option<JournalRule> {
    let filter = section.parsed("filter", str::parse::<TopicFilter>);
    let filter = section.need("filter", filter);
    let log = section.need("log", section.get("log"));
    let (filter, log) = (filter?, log?);
    Some(JournalRule { filter, log })
}

/// Tables of a part that this program has not.
#[cfg(not(all(feature = "bridge", feature = "jwt")))]
fn not_built<'a>(
    root: &Section<'a>,
    feature: &str,
    what: &str,
    tables: impl IntoIterator<Item = Section<'a>>,
) {
    let mut tables = tables.into_iter().peekable();
    if tables.peek().is_some() {
        let how = format!("build it with `--features {feature}`");
        root.wrong(feature, format!("this program has no {what}: {how}"));
    }
    tables.for_each(Section::ignore);
}

#[cfg(test)]
mod tests;
