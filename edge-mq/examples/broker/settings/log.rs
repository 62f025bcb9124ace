//! What is told, how and where.

use std::path::PathBuf;

use tracing_subscriber::filter::LevelFilter;

use super::section::Section;

/// The log, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Log {
    pub(crate) level: LevelFilter,
    pub(crate) format: LogFormat,
    /// The standard error without it.
    pub(crate) file: Option<PathBuf>,
    /// Whether lines have the time; as the place needs it without.
    pub(crate) time: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

const LEVELS: &[(&str, LevelFilter)] = &[
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
];

const FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

impl Default for Log {
    fn default() -> Log {
        Log { level: LevelFilter::INFO, format: LogFormat::Text, file: None, time: None }
    }
}

impl Log {
    pub(super) fn take(section: Option<&Section<'_>>) -> Log {
        let mut log = Log::default();
        let Some(section) = section else { return log };
        log.level = section.word("level", LEVELS).unwrap_or(log.level);
        log.format = section.word("format", FORMATS).unwrap_or(log.format);
        log.time = section.get("time");
        log.file = section.path("file");
        if let Some(file) = &log.file {
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            if file.is_dir() {
                section.wrong("file", format!("`file`: {} is a folder", file.display()));
            } else if let Some(folder) = folder.filter(|folder| !folder.is_dir()) {
                section.wrong("file", format!("`file`: there is no folder {}", folder.display()));
            }
        }
        log
    }
}
