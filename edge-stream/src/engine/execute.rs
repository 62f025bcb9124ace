//! Statements, one at a time, and what the catalog has kept of them.

use std::sync::Weak;

use super::replace::Replacing;
use super::{Engine, Inner};
use crate::db::blocking;
use crate::db::catalog::{Created, place, view_name};
use crate::db::input::InputSpec;
use crate::db::job::JobSpec;
use crate::db::output::Output;
use crate::db::tape::Tape;
use crate::error::SqlError;
use crate::sql::statement::{self, Action, Definition, IfThere, Kind, Statement};

/// Carries out a statement. While something is built, the engine is free to go.
pub(super) async fn carry_out(inner: &Weak<Inner>, statement: Statement) -> Result<(), SqlError> {
    let position = statement.position;
    let building = {
        let engine = inner.upgrade().map(|inner| Engine { inner }).ok_or(SqlError::Closed)?;
        if engine.inner.objects.lock().is_closed {
            return Err(SqlError::Closed);
        }
        engine.execute_one(statement).await?
    };
    match building {
        None => Ok(()),
        Some(replacing) => replacing.build(inner).await.map_err(|error| error.at(position)),
    }
}

impl Engine {
    /// Returns what takes longer.
    async fn execute_one(&self, statement: Statement) -> Result<Option<Replacing>, SqlError> {
        let statement = match self.is_settled(&statement) {
            true => statement,
            false => self.with_columns(statement).await?,
        };
        let Statement { text, position, action } = statement;
        let done = match action {
            Action::Create { name, if_there, what } => {
                let created = self.create_or(name, if_there, &text, what).await;
                return created.map_err(|error| error.at(position));
            }
            Action::Drop { name, if_exists, kind } => match self.kind_of(&name) {
                Some(found) if found == kind => self.drop_object(&name).await,
                None if if_exists => Ok(()),
                found => Err(self.no_such(Some(kind), &name, found, "DROP")),
            },
            Action::Insert(insert) => self.insert(*insert).await,
            Action::Pause { name, kind } => self.pause(&name, kind, true).await,
            Action::Resume { name, kind } => self.pause(&name, kind, false).await,
        };
        done.map(|()| None).map_err(|error| error.at(position))
    }

    async fn create_or(
        &self,
        name: String,
        if_there: IfThere,
        sql: &str,
        what: Definition,
    ) -> Result<Option<Replacing>, SqlError> {
        let found = self
            .inner
            .objects
            .lock()
            .by_name
            .get(&name)
            .map(|object| (object.kind, object.what == what));
        match (found, if_there) {
            (None, _) => self.create(name, sql, what).await.map(|()| None),
            (Some((kind, _)), _) if kind != what.kind() => {
                let reason = format!("`{name}` is a {}", kind.word());
                Err(SqlError::statement(None, reason).or("use another name"))
            }
            (Some(_), IfThere::Refuse) => Err(SqlError::Exists { position: None, name }),
            (Some(_), IfThere::Keep) | (Some((_, true)), IfThere::Replace) => Ok(None),
            (Some((kind, false)), IfThere::Replace) => {
                self.check_broker(&name, &what)?;
                if kind == Kind::Table {
                    let reason = format!("table `{name}` has other columns");
                    return Err(SqlError::statement(None, reason)
                        .or("DROP TABLE takes it away with its rows, or use another name"));
                }
                if kind == Kind::Stream {
                    self.check_name(&name, &what)?;
                    return self.replace_stream(&name, sql, what).await.map(|()| None);
                }
                self.begin_replacing(&name, sql, what).await.map(Some)
            }
        }
    }

    async fn pause(&self, name: &str, kind: Option<Kind>, paused: bool) -> Result<(), SqlError> {
        match (self.kind_of(name), kind) {
            (Some(_), None) => self.set_paused(name, paused).await,
            (Some(found), Some(kind)) if found == kind => self.set_paused(name, paused).await,
            (found, kind) => {
                let verb = if paused { "PAUSE" } else { "RESUME" };
                Err(self.no_such(kind, name, found, verb))
            }
        }
    }

    pub(super) fn kind_of(&self, name: &str) -> Option<Kind> {
        self.inner.objects.lock().by_name.get(name).map(|object| object.kind)
    }

    /// Whether the name of what is to be created is taken, and stays as it is.
    fn is_settled(&self, statement: &Statement) -> bool {
        let Action::Create { name, if_there, .. } = &statement.action else { return false };
        *if_there != IfThere::Replace && self.inner.objects.lock().by_name.contains_key(name)
    }

    fn has_broker(&self) -> bool {
        #[cfg(feature = "mq")]
        return self.inner.broker.is_some();
        #[cfg(not(feature = "mq"))]
        return false;
    }

    fn check_broker(&self, name: &str, what: &Definition) -> Result<(), SqlError> {
        if what.has_topic() && !self.has_broker() {
            return Err(SqlError::NoBroker { position: None, name: name.to_owned() });
        }
        Ok(())
    }

    /// `kind` is `None` for whatever has a job.
    pub(super) fn no_such(
        &self,
        kind: Option<Kind>,
        name: &str,
        found: Option<Kind>,
        verb: &str,
    ) -> SqlError {
        let wanted = kind.map_or("JOB", Kind::word);
        let error = SqlError::statement(None, format!("there is no {wanted} `{name}`"));
        if let Some(found) = found {
            return error.or(format!("it is a {0}: {verb} {0} {name}", found.word()));
        }
        let objects = self.inner.objects.lock();
        let same = objects.by_name.iter();
        let same = same.filter(|(_, object)| kind.is_none_or(|kind| object.kind == kind));
        match crate::sql::nearest(name, same.map(|(name, _)| name.as_str())) {
            Some(near) => error.or(format!("did you mean `{near}`?")),
            None => error,
        }
    }

    /// What a statement of the catalog says is in force again.
    pub(super) async fn take_up(&self, mut created: Created) -> Result<(), SqlError> {
        for statement in statement::parse_script(&created.sql)? {
            if let Action::Create { name, what, .. } = statement.action {
                let prepared = self.prepare(&name, created.slot, what).await?;
                let building = std::mem::take(&mut created.building);
                if !building.is_empty() {
                    self.take_away(&prepared.spec, created.clone(), building).await?;
                }
                self.connect(prepared.topic.as_ref(), &prepared.spec).await?;
                self.capture(&prepared.what, &prepared.spec).await?;
                let delivering = self.deliver(&prepared.spec).await?;
                self.put_in_force(created.clone(), prepared, delivering)?;
            }
        }
        Ok(())
    }

    /// Takes away what was to replace a job, and was being built when the process ended.
    async fn take_away(
        &self,
        of: &JobSpec,
        created: Created,
        logs: Vec<String>,
    ) -> Result<(), SqlError> {
        let (db, mut spec) = (self.inner.catalog.db.clone(), of.clone());
        spec.slot ^= 1;
        let opened = blocking(move || {
            if let Output::View(view) = &mut spec.output {
                view.table = db.table(&view_name(&place(&spec.name, spec.slot)))?;
            }
            let own = spec.inputs[0].clone();
            let inputs = logs.into_iter().map(|log| {
                // A Log that has gone has no cursors, nor has memory.
                let log = db.find_log(&log).map_or_else(|| own.log.clone(), Tape::from);
                InputSpec { log, ..own.clone() }
            });
            spec.inputs = inputs.collect();
            Ok::<_, SqlError>(spec)
        });
        let spec = opened.await.map_err(|_| SqlError::Closed)??;
        self.in_catalog(move |catalog| catalog.change_without(&spec, &created)).await
    }

    pub(super) async fn create(
        &self,
        name: String,
        sql: &str,
        what: Definition,
    ) -> Result<(), SqlError> {
        self.check_broker(&name, &what)?;
        self.check_name(&name, &what)?;
        // A crash behind either of these leaves an empty Log or table and perhaps a journal rule,
        // which the next CREATE takes over.
        let prepared = self.prepare(&name, 0, what).await?;
        self.connect(prepared.topic.as_ref(), &prepared.spec).await?;
        let created = self.store(&prepared, sql).await?;
        // A crash here is made good by the next start, which takes up the catalog.
        self.capture(&prepared.what, &prepared.spec).await?;
        let delivering = self.deliver(&prepared.spec).await?;
        self.put_in_force(created, prepared, delivering)
    }
}
