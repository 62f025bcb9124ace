//! The broker as it runs: how it starts, changes and stops.

use std::error::Error;

use edge_mq::access::{Acl, Client};
use edge_mq::{Broker, Listening, Tls, TopicFilter, TopicName};
use tracing::{error, info, warn};

use super::mistakes::with_causes;
#[cfg(feature = "bridge")]
use super::settings::NamedBridge;
use super::settings::{Door, JournalRule, Listen, Settings};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// A broker with the settings that it runs by.
pub(crate) struct Running {
    broker: Broker,
    open: Vec<Open>,
    settings: Settings,
}

/// A listener that is open.
struct Open {
    door: Door,
    listening: Listening,
    tls: Option<Tls>,
}

impl Running {
    /// Everything is in force before the first client comes.
    pub(crate) async fn start(settings: Settings) -> Result<Running> {
        let mut builder =
            Broker::builder().limits(settings.limits.clone()).sys_interval(settings.sys_interval);
        if let Some(rules) = &settings.rules {
            builder = builder.acl(rules.clone());
        }
        if let Some(data) = &settings.data {
            let db = edge_db::Db::open(data)?;
            builder = builder.db(&db).durable_within(settings.durable_within);
        }
        let broker = builder.start().await?;
        let mut running = Running { broker, open: Vec::new(), settings };
        running.journal().await?;
        #[cfg(feature = "bridge")]
        for bridge in &running.settings.bridges {
            running.broker.add_bridge(bridge.bridge.clone()).await?;
            info!(bridge = bridge.name, "bridge added");
        }
        for listen in std::mem::take(&mut running.settings.listeners) {
            running.open(listen).await?;
        }
        Ok(running)
    }

    pub(crate) fn broker(&self) -> &Broker {
        &self.broker
    }

    async fn open(&mut self, listen: Listen) -> Result<()> {
        let Listen { door, tls, entry, .. } = listen;
        let tls = tls.map(|tls| tls.build()).transpose()?;
        let listening = self.broker.listen(door.listener(tls.as_ref()).auth(entry)).await?;
        self.open.push(Open { door, listening, tls });
        Ok(())
    }

    /// Puts into force what can change while it runs, and says what did and what cannot, with what is
    /// known already to need a restart.
    pub(crate) async fn reload(&mut self, mut settings: Settings, restart: Option<&str>) {
        let mut restart: Vec<String> = restart.map(str::to_owned).into_iter().collect();
        restart.extend(self.unchangeable(&settings));
        match settings.rules.clone() {
            Some(rules) => self.broker.set_acl(rules),
            None => self.broker.set_acl(Everything),
        }
        let mut listeners = std::mem::take(&mut settings.listeners);
        for open in &self.open {
            let is_it = |listen: &Listen| listen.door.place == open.door.place;
            match listeners.iter().position(is_it).map(|place| listeners.swap_remove(place)) {
                Some(listen) => open.change(listen, &mut restart),
                None => restart.push(format!("the listener at {} that is gone", open.door.place)),
            }
        }
        for listen in &listeners {
            restart.push(format!("the new listener at {}", listen.door.place));
        }
        #[cfg(feature = "bridge")]
        self.bridges(&mut settings.bridges).await;
        // What only a restart changes is compared with what the broker has.
        let Settings { data, limits, sys_interval, durable_within, .. } = &self.settings;
        settings.data.clone_from(data);
        settings.limits.clone_from(limits);
        settings.sys_interval = *sys_interval;
        settings.durable_within = *durable_within;
        self.settings = settings;
        if let Err(error) = self.journal().await {
            error!("{}", with_causes(&*error));
        }
        if !restart.is_empty() {
            warn!("a restart is needed for {}", restart.join(", "));
        }
    }

    /// Settings that differ from those in force, and that nothing can change now.
    fn unchangeable(&self, settings: &Settings) -> Vec<String> {
        let old = &self.settings;
        let changed = [
            ("`data`", old.data != settings.data),
            ("`sys_interval`", old.sys_interval != settings.sys_interval),
            ("`durable_within`", old.durable_within != settings.durable_within),
            ("[limits]", old.limits != settings.limits),
        ];
        let changed = changed.into_iter().filter(|(_, is_changed)| *is_changed);
        changed.map(|(what, _)| what.to_owned()).collect()
    }

    /// Journal rules are those of the settings. Without a file, those that the database has stay.
    async fn journal(&self) -> Result<()> {
        let in_force = self.broker.journal_rules().into_iter();
        let in_force: Vec<JournalRule> =
            in_force.map(|rule| JournalRule { filter: rule.filter, log: rule.log }).collect();
        for rule in self.settings.journal.iter().filter(|rule| !in_force.contains(rule)) {
            self.broker.journal(rule.filter.clone(), rule.log.clone()).await?;
            info!("journal: {rule}");
        }
        if self.settings.file.is_some() {
            for rule in in_force.iter().filter(|rule| !self.settings.journal.contains(rule)) {
                self.broker.unjournal(rule.filter.clone(), rule.log.clone()).await?;
                info!("journal: no more {rule}");
            }
        }
        Ok(())
    }

    /// Stops it; the broker tells what stayed behind.
    pub(crate) async fn stop(&self) -> Result<()> {
        self.broker.shutdown(self.settings.shutdown_within).await?;
        Ok(())
    }
}

#[cfg(feature = "bridge")]
impl Running {
    /// Bridges become those of the settings; what did not change is left alone.
    async fn bridges(&self, wanted: &mut [NamedBridge]) {
        let there = match self.broker.bridges().await {
            Ok(there) => there,
            Err(error) => return error!("{}", with_causes(&error)),
        };
        for gone in there.iter().filter(|there| wanted.iter().all(|new| new.name != there.name)) {
            match self.broker.remove_bridge(&gone.name).await {
                Ok(lost) => info!(bridge = gone.name, lost, "bridge removed"),
                Err(error) => error!("{}", with_causes(&error)),
            }
        }
        for new in wanted {
            let is_there = there.iter().any(|there| there.name == new.name);
            let is_as_before = |old: &NamedBridge| old.name == new.name && old.said == new.said;
            if is_there && self.settings.bridges.iter().any(is_as_before) {
                continue;
            }
            let done = match is_there {
                true => self.broker.replace_bridge(new.bridge.clone()).await,
                false => self.broker.add_bridge(new.bridge.clone()).await,
            };
            match done {
                Ok(()) if is_there => info!(bridge = new.name, "bridge changed"),
                Ok(()) => info!(bridge = new.name, "bridge added"),
                Err(error) => {
                    error!("{}", with_causes(&error));
                    // The next reload tries again.
                    new.said.clear();
                }
            }
        }
    }
}

impl Open {
    /// Users and certificates become those of the settings.
    fn change(&self, listen: Listen, restart: &mut Vec<String>) {
        if listen.door != self.door {
            restart.push(format!("what else changed at {}", self.door.place));
        }
        self.listening.set_auth(listen.entry);
        let (Some(old), Some(new)) = (&self.tls, listen.tls) else { return };
        // They were read a moment ago, so this only fails if somebody is writing them.
        if let Err(error) = old.replace(new) {
            error!("the old certificates stay at {}: {}", self.door.place, with_causes(&error));
        }
    }
}

/// As without rules.
#[derive(Debug)]
struct Everything;

impl Acl for Everything {
    fn may_publish(&self, _: Client<'_>, _: &TopicName) -> bool {
        true
    }

    fn may_subscribe(&self, _: Client<'_>, _: &TopicFilter) -> bool {
        true
    }

    fn may_receive(&self, _: Client<'_>, _: &TopicName) -> bool {
        true
    }
}
