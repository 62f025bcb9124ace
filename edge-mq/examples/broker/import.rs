//! From mosquitto.conf to the TOML that does the same, as far as there is the same.

mod access;
mod bridge;
mod conf;
mod limits;
mod listener;
mod table;

use std::io;
use std::path::Path;

use self::access::Access;
use self::bridge::Bridge;
use self::conf::Line;
use self::limits::Limits;
use self::listener::Listener;
use super::mistakes::Mistake;

const HEAD: &str = "\
# Made of mosquitto.conf. What that did not say is as broker.toml has it, which is not always as
# mosquitto does. Relative paths are as seen from the folder of this file, where mosquitto begins at
# the folder that it was started in. What mosquitto has stored is not taken over.
";

/// The settings, and what of the old ones is not in them.
#[derive(Debug)]
pub(crate) struct Imported {
    pub(crate) toml: String,
    pub(crate) left_out: Vec<Mistake>,
}

/// What became of an option.
#[derive(Debug, PartialEq)]
enum Fate {
    Done,
    /// It is so anyway.
    Needless(&'static str),
    /// There is no equivalent, or the value means nothing.
    Missing(String),
    /// It is no option of this part.
    Foreign,
}

fn missing(why: &str) -> Fate {
    Fate::Missing(why.to_owned())
}

/// Reads a mosquitto.conf, with the files that it includes.
pub(crate) fn import(file: &Path) -> io::Result<Imported> {
    let mut import = Import::default();
    for line in conf::lines(file)? {
        import.take(&line);
    }
    Ok(import.finish())
}

#[derive(Default)]
struct Import {
    access: Access,
    limits: Limits,
    /// The one that options in front of all others are about.
    first: Listener,
    listeners: Vec<Listener>,
    bridges: Vec<Bridge>,
    is_in_bridge: bool,
    is_per_listener: bool,
    /// What a comment says at the end of the file.
    remarks: Vec<String>,
    left_out: Vec<Mistake>,
}

impl Import {
    fn take(&mut self, line: &Line) {
        let Line { file, number, option, value } = line;
        // What is secret is not shown.
        let is_secret = option.contains("password") || option.contains("psk");
        let said = if is_secret { option.clone() } else { format!("{option} {value}") };
        let said = said.trim_end();
        let fate = match self.fate(option, value) {
            Fate::Foreign => missing("there is no such option here"),
            fate => fate,
        };
        match fate {
            Fate::Done | Fate::Foreign => {}
            Fate::Needless(why) => self.remarks.push(format!("{said}: {why}")),
            Fate::Missing(why) => {
                self.remarks.push(format!("{said}: {why}"));
                let what = format!("`{said}` is left out: {why}");
                self.left_out.push(Mistake { file: file.clone(), line: Some(*number), what });
            }
        }
    }

    fn fate(&mut self, option: &str, value: &str) -> Fate {
        match option {
            "listener" => {
                self.is_in_bridge = false;
                let (listener, fate) = Listener::parse(value);
                self.listeners.push(listener);
                return fate;
            }
            // They are about no other one, wherever they stand.
            "port" | "bind_address" => {
                return self.first.option(option, value, self.is_per_listener);
            }
            "connection" => {
                self.is_in_bridge = true;
                self.bridges.push(Bridge::new(value));
                return Fate::Done;
            }
            "per_listener_settings" => {
                self.is_per_listener = value == "true";
                return Fate::Done;
            }
            _ => {}
        }
        if let (true, Some(bridge)) = (self.is_in_bridge, self.bridges.last_mut()) {
            let fate = bridge.option(option, value);
            if fate != Fate::Foreign {
                return fate;
            }
        }
        let listener = self.listeners.last_mut().unwrap_or(&mut self.first);
        let fate = listener.option(option, value, self.is_per_listener);
        if fate != Fate::Foreign {
            return fate;
        }
        match self.access.option(option, value) {
            Fate::Foreign => self.limits.option(option, value),
            fate => fate,
        }
    }

    fn finish(mut self) -> Imported {
        if self.first.is_said || self.listeners.is_empty() {
            self.listeners.insert(0, self.first);
        }
        let is_local = self.listeners.len() == 1 && self.listeners.iter().all(|one| !one.is_said);
        self.listeners.retain(|listener| !listener.is_left_out);
        // Without a listener, mosquitto is open, and only for this machine.
        self.access.settle(is_local, self.is_per_listener);
        let mut parts = vec![
            HEAD.to_owned(),
            self.access.root.render(),
            self.access.log.render(),
            self.access.table.render(),
        ];
        parts.extend(self.listeners.into_iter().map(|one| one.render(is_local)));
        parts.push(self.limits.table.render());
        parts.extend(self.bridges.into_iter().map(Bridge::render));
        if !self.remarks.is_empty() {
            let lines: Vec<_> = self.remarks.iter().map(|said| format!("#   {said}\n")).collect();
            parts.push(format!("# Of mosquitto.conf this is not in here:\n{}", lines.concat()));
        }
        parts.retain(|part| !part.is_empty());
        Imported { toml: parts.join("\n"), left_out: self.left_out }
    }
}

#[cfg(test)]
mod tests;
