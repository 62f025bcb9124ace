//! Options about the whole broker but its limits.

use super::table::Table;
use super::{Fate, missing};

/// What stands in front of all tables, and who may do what.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) root: Table,
    pub(super) table: Table,
    pub(super) log: Table,
    level: Option<&'static str>,
    is_persistent: bool,
    location: String,
}

impl Default for Access {
    fn default() -> Access {
        let (root, table) = (Table::new(""), Table::new("[access]"));
        let log = Table::new("[log]");
        Access { root, table, log, level: None, is_persistent: false, location: "data".to_owned() }
    }
}

impl Access {
    pub(super) fn option(&mut self, option: &str, value: &str) -> Fate {
        match option {
            "allow_anonymous" => self.table.set("allow_anonymous", value == "true"),
            "password_file" => self.table.text("password_file", value),
            "acl_file" => self.table.text("acl_file", value),
            "persistence" => {
                self.is_persistent = value == "true";
                Fate::Done
            }
            "persistence_location" => {
                value.clone_into(&mut self.location);
                Fate::Done
            }
            "sys_interval" => self.root.seconds("sys_interval", value),
            "autosave_interval" | "autosave_on_changes" | "persistence_file" => {
                Fate::Needless("what is acknowledged is on disk already")
            }
            "set_tcp_nodelay" => Fate::Needless("it is always set"),
            option if is_log(option) => self.log(option, value),
            "pid_file" | "user" => missing("systemd does this: see edge-mq.service"),
            "plugin" | "auth_plugin" | "auth_plugin_deny_special_chars" | "psk_file" => {
                missing("users are those of a password file or of certificates")
            }
            option if option.starts_with("auth_opt_") || option.starts_with("plugin_opt_") => {
                missing("there are no plugins")
            }
            "clientid_prefixes" => missing("an acl_file can say which clients may do what"),
            "check_retain_source" => missing("what was retained stays, whoever sent it"),
            _ => Fate::Foreign,
        }
    }

    fn log(&mut self, option: &str, value: &str) -> Fate {
        match (option, value.split_once(' ').unwrap_or((value, ""))) {
            ("log_dest", ("stderr", _)) => Fate::Done,
            ("log_dest", ("file", path)) => self.log.text("file", path.trim()),
            ("log_dest", ("none", _)) => self.level("off"),
            ("log_dest", _) => missing("the log goes to a file or to the standard error"),
            ("log_type", ("all" | "debug", _)) => self.level("debug"),
            ("log_type", ("notice" | "information", _)) => self.level("info"),
            ("log_type", ("warning", _)) => self.level("warn"),
            ("log_type", ("error", _)) => self.level("error"),
            ("log_type", ("none", _)) => self.level("off"),
            ("log_type", _) => missing("the log is the same for all parts of the broker"),
            ("log_timestamp", (value, _)) => self.log.set("time", value == "true"),
            ("log_timestamp_format", _) => missing("the time is written as RFC 3339 has it"),
            ("connection_messages", ("true", _)) => Fate::Needless("level \"info\" has them"),
            ("connection_messages", _) => missing("they are of the level \"info\", with all else"),
            _ => missing("the log is the same for all parts of the broker"),
        }
    }

    /// Of several types, what tells most holds.
    fn level(&mut self, level: &'static str) -> Fate {
        const LEVELS: [&str; 5] = ["off", "error", "warn", "info", "debug"];
        let rank = |level| LEVELS.iter().position(|known| *known == level);
        if self.level.is_none_or(|old| rank(old) < rank(level)) {
            self.level = Some(level);
            return self.log.text("level", level);
        }
        Fate::Done
    }

    /// Once all is read.
    pub(super) fn settle(&mut self, is_local: bool, is_per_listener: bool) {
        if self.is_persistent {
            let location = std::mem::take(&mut self.location);
            self.root.text("data", &location);
        }
        if !self.table.has("allow_anonymous") && !is_per_listener {
            self.table.set("allow_anonymous", is_local);
        }
    }
}

fn is_log(option: &str) -> bool {
    option.starts_with("log_") || ["connection_messages", "websockets_log_level"].contains(&option)
}
