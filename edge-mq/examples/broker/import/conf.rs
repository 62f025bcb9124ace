//! The lines of a mosquitto.conf.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// An option and its value.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) file: PathBuf,
    /// From 1.
    pub(super) number: usize,
    pub(super) option: String,
    pub(super) value: String,
}

/// Those that say something, with those of included files in their place.
pub(super) fn lines(file: &Path) -> io::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for line in own_lines(file)? {
        if line.option != "include_dir" {
            lines.push(line);
            continue;
        }
        // Only the first file includes others.
        for file in included(Path::new(&line.value))? {
            lines.extend(own_lines(&file)?);
        }
    }
    Ok(lines)
}

fn own_lines(file: &Path) -> io::Result<Vec<Line>> {
    let text = fs::read_to_string(file).map_err(|error| about(file, &error))?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let lines = lines.map(|(number, line)| {
        let (option, value) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        Line {
            file: file.to_owned(),
            number,
            option: option.to_owned(),
            value: value.trim().to_owned(),
        }
    });
    Ok(lines.collect())
}

/// By name, as mosquitto reads them.
fn included(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| about(folder, &error))?;
    let files = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut files = files.collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| file.extension().is_some_and(|ending| ending == "conf"));
    files.sort();
    Ok(files)
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}
