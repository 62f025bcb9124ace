//! Sinks: the Logs that their rows lie in, and which of them may be.

use std::collections::BTreeSet;

use arrow::datatypes::SchemaRef;
use edge_db::{Log, LogOptions, WhenFull};

use super::Engine;
use super::build::ERRORS;
use super::changes::is_changes_log;
use crate::db::blocking;
use crate::db::input::InputSpec;
use crate::db::output::Output;
use crate::db::output::sink::{Destination, FileOutput, SinkOutput, TopicOutput};
use crate::encode::Encoder;
use crate::error::SqlError;
use crate::sql::sink::{SinkDefinition, SinkLog, SinkTo};
use crate::sql::statement::Definition;
use crate::topic::TopicPattern;

impl Engine {
    /// Opens the Logs of a sink.
    pub(super) async fn sink(
        &self,
        name: &str,
        schema: &SchemaRef,
        sink: &SinkDefinition,
    ) -> Result<SinkOutput, SqlError> {
        let (mut encoder, levels) = encoder(schema, sink)?;
        let (log, to) = match &sink.to {
            SinkTo::Log(log) => (self.log_of_sink(log).await?, Destination::Log),
            SinkTo::Topic { pattern, qos, is_retained } => {
                let (log, errors) = (self.log(name).await?, self.errors_log(name).await?);
                let (pattern, qos, is_retained) = (pattern.clone(), *qos, *is_retained);
                let topic = TopicOutput { pattern, levels, qos, is_retained, errors };
                (log, Destination::Topic(topic))
            }
            SinkTo::File(path) => {
                let header = encoder.take_header();
                let header = header.map_err(|error| SqlError::planning(&error.into()))?;
                let file = FileOutput { path: path.clone(), header };
                (self.log(name).await?, Destination::File(file))
            }
            SinkTo::Channel(channel) => {
                (self.log(name).await?, Destination::Channel(channel.clone()))
            }
        };
        Ok(SinkOutput { log, encoder, to })
    }

    /// The Log that a sink writes to, and others read if they like. As nobody may, a new one drops its
    /// oldest when it is full; one that is there keeps what it has, but for what the statement says.
    async fn log_of_sink(&self, wanted: &SinkLog) -> Result<Log, SqlError> {
        let (db, wanted) = (self.inner.catalog.db.clone(), wanted.clone());
        let opened = blocking(move || {
            let found = db.find_log(&wanted.name);
            let new = LogOptions::new().when_full(WhenFull::DropOldest);
            let had = found.as_ref().map_or(new, Log::options);
            let options = wanted.max_bytes.map_or(had, |bytes| had.max_bytes(bytes));
            let options = wanted.when_full.map_or(options, |policy| options.when_full(policy));
            match found {
                Some(log) if options == had => Ok(log),
                _ => db.log_with(&wanted.name, options),
            }
        });
        Ok(opened.await.map_err(|_| SqlError::Closed)??)
    }

    /// Refuses a Log that is not for this sink.
    pub(super) fn check_sink(&self, name: &str, sink: &SinkDefinition) -> Result<(), SqlError> {
        let refuse = |log: &str, reason: &str| {
            let reason = format!("`{log}` is a log {reason}");
            Err(SqlError::statement(None, reason).or("use another name"))
        };
        self.check_alone(name, &sink.to)?;
        match &sink.to {
            SinkTo::Log(SinkLog { name: log, .. }) => match self.owner_of(log) {
                _ if log.ends_with(ERRORS) => refuse(log, "of what is no row"),
                _ if is_changes_log(log) => refuse(log, "of what changes in a table"),
                Some(owner) => refuse(log, &format!("that sink `{owner}` delivers")),
                None => Ok(()),
            },
            SinkTo::File(path) => {
                self.check_file(name, path)?;
                self.check_own_log(name)
            }
            SinkTo::Channel(_) | SinkTo::Topic { .. } => self.check_own_log(name),
        }
    }

    /// The Log of this name is to belong to a sink.
    fn check_own_log(&self, name: &str) -> Result<(), SqlError> {
        let log = self.inner.catalog.db.find_log(name);
        let bounds = log.map(|log| log.bounds()).transpose()?;
        let is_empty = bounds.is_none_or(|bounds| bounds.is_empty());
        if is_empty && self.readers_of(name).is_empty() && self.writers_of(name).is_empty() {
            return Ok(());
        }
        let reason = format!("`{name}` is a log that others write or read");
        Err(SqlError::statement(None, reason).or("use another name"))
    }

    /// What lies in a file that a sink begins is not the sink's to overwrite.
    fn check_file(&self, name: &str, path: &str) -> Result<(), SqlError> {
        let refuse = |reason: String, help: &str| Err(SqlError::statement(None, reason).or(help));
        let Some(folder) = &self.inner.files else {
            let reason = format!("`{name}` writes a file, and the engine has no folder for that");
            return refuse(reason, "give it one: `EngineBuilder::files`");
        };
        let path = folder.join(path);
        if path.metadata().is_ok_and(|found| !found.is_file() || found.len() > 0) {
            let reason = format!("there is something in {} already", path.display());
            return refuse(reason, "move it away, or name another file");
        }
        Ok(())
    }

    /// Two sinks would write each other's lines away, and take each other's rows.
    fn check_alone(&self, name: &str, to: &SinkTo) -> Result<(), SqlError> {
        if matches!(to, SinkTo::Log(_) | SinkTo::Topic { .. }) {
            return Ok(());
        }
        let objects = self.inner.objects.lock();
        let is_same =
            |what: &Definition| matches!(what, Definition::Sink(sink, _) if sink.to == *to);
        match objects.by_name.iter().find(|(other, object)| *other != name && is_same(&object.what))
        {
            None => Ok(()),
            Some((other, _)) => {
                let reason = format!("sink `{other}` writes there already");
                Err(SqlError::statement(None, reason).or("use another file or channel"))
            }
        }
    }

    /// Refuses to replace a sink by one whose rows go elsewhere: what the old one has in its Log
    /// would not get there.
    pub(super) fn check_successor(&self, name: &str, next: &Definition) -> Result<(), SqlError> {
        let Definition::Sink(next, _) = next else { return Ok(()) };
        let old = self.inner.objects.lock().by_name.get(name).map(|object| object.what.clone());
        let Some(Definition::Sink(old, _)) = old else { return Ok(()) };
        match (&old.to, &next.to) {
            (SinkTo::Log(_), SinkTo::Log(_)) => self.check_sink(name, next),
            (SinkTo::Topic { .. }, SinkTo::Topic { .. }) => Ok(()),
            (SinkTo::File(_), SinkTo::File(_)) | (SinkTo::Channel(_), SinkTo::Channel(_))
                if old.to == next.to && old.format == next.format =>
            {
                Ok(())
            }
            _ => {
                let reason = format!("`{name}` would send its rows elsewhere");
                Err(SqlError::statement(None, reason).or("drop it first, or use another name"))
            }
        }
    }

    /// The same of what it would write into a file that has begun.
    pub(super) fn check_header(&self, old: &Output, next: &Output) -> Result<(), SqlError> {
        let header = |output: &Output| match output {
            Output::Sink(SinkOutput { to: Destination::File(file), .. }) => file.header.clone(),
            _ => None,
        };
        if header(old) == header(next) {
            return Ok(());
        }
        let reason = "it would write other columns into a file that has begun";
        Err(SqlError::statement(None, reason).or("drop it first, or use another name and file"))
    }

    /// The sink whose own Log this is.
    pub(super) fn owner_of(&self, log: &str) -> Option<String> {
        let objects = self.inner.objects.lock();
        let is_owner = |output: &Output| matches!(output, Output::Sink(sink) if sink.owns_log());
        objects.by_name.get(log).filter(|object| is_owner(&object.spec.output))?;
        Some(log.to_owned())
    }

    /// The sinks that write to this Log.
    fn writers_of(&self, log: &str) -> Vec<String> {
        let objects = self.inner.objects.lock();
        let writes =
            |output: &Output| matches!(output, Output::Sink(sink) if sink.log.name() == log);
        let writers = objects.by_name.iter().filter(|(_, object)| writes(&object.spec.output));
        writers.map(|(name, _)| name.clone()).collect()
    }

    /// Refuses a sink whose rows come back to it: it would never come to the end of its Log.
    pub(super) fn check_loop(
        &self,
        name: &str,
        sink: &SinkOutput,
        inputs: &[InputSpec],
    ) -> Result<(), SqlError> {
        let logs = |inputs: &[InputSpec]| -> Vec<String> {
            inputs.iter().map(|input| input.log.name().to_owned()).collect()
        };
        let (mut read, mut ahead) = (BTreeSet::new(), logs(inputs));
        while let Some(log) = ahead.pop() {
            if !read.insert(log.clone()) {
                continue;
            }
            // What this sink writes now, if it is there already, it will not write any more.
            let writers = self.writers_of(&log).into_iter().filter(|writer| writer != name);
            let objects = writers.map(|writer| {
                let objects = self.inner.objects.lock();
                objects.by_name.get(&writer).map(|object| logs(&object.spec.inputs))
            });
            ahead.extend(objects.flatten().flatten());
        }
        if !read.contains(sink.log.name()) {
            return Ok(());
        }
        let reason = format!("`{name}` would read what it writes to log `{}`", sink.log.name());
        Err(SqlError::statement(None, reason).or("write to another log"))
    }
}

/// What writes the rows of a sink, and the columns that stand in its topic.
pub(super) fn encoder(
    schema: &SchemaRef,
    sink: &SinkDefinition,
) -> Result<(Encoder, Vec<usize>), SqlError> {
    let levels = match sink.to.topic() {
        Some(topic) => levels_of(topic, schema)?,
        None => Vec::new(),
    };
    let encoder = Encoder::new(&sink.format, schema, &levels);
    Ok((encoder.map_err(|reason| SqlError::statement(None, reason))?, levels))
}

fn levels_of(topic: &TopicPattern, schema: &SchemaRef) -> Result<Vec<usize>, SqlError> {
    let levels = topic.names().map(|level| {
        schema.index_of(level).map_err(|_| {
            let reason = format!("level {{{level}}} of the topic is no column of the query");
            SqlError::statement(None, reason).or(format!("select `{level}`"))
        })
    });
    levels.collect()
}
