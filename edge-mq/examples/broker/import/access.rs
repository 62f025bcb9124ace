//! Options about the whole broker but its limits.

use super::table::Table;
use super::{Fate, missing};

/// What stands in front of all tables, and who may do what.
#[derive(Debug)]
pub(super) struct Access {
    pub(super) root: Table,
    pub(super) table: Table,
    is_persistent: bool,
    location: String,
}

impl Default for Access {
    fn default() -> Access {
        let (root, table) = (Table::new(""), Table::new("[access]"));
        Access { root, table, is_persistent: false, location: "data".to_owned() }
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
            "log_dest"
            | "log_facility"
            | "log_timestamp"
            | "log_timestamp_format"
            | "log_type"
            | "connection_messages"
            | "websockets_log_level" => {
                missing("the broker logs to its standard output, and nothing about single clients")
            }
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
