//! Statements, one at a time, and what the catalog has kept of them.

use super::Engine;
use crate::error::SqlError;
use crate::sql::statement::{self, Action, Definition, Kind, Statement};

impl Engine {
    pub(super) async fn execute_one(&self, statement: Statement) -> Result<(), SqlError> {
        let Statement { text, position, action } = statement;
        match action {
            Action::Create { name, if_not_exists, what } => {
                let found = self.inner.objects.lock().by_name.get(&name).map(|object| object.kind);
                match found {
                    None => self.create(name, &text, what).await,
                    Some(found) if found == what.kind() && if_not_exists => Ok(()),
                    Some(found) if found == what.kind() => Err(SqlError::Exists { name }),
                    Some(found) => {
                        let reason = format!("`{name}` is a {}", found.word());
                        Err(SqlError::statement(None, reason).or("use another name"))
                    }
                }
                .map_err(|error| error.at(position))
            }
            Action::Drop { name, if_exists, kind } => {
                let found = self.inner.objects.lock().by_name.get(&name).map(|object| object.kind);
                match found {
                    Some(found) if found == kind => self.drop_object(&name).await,
                    None if if_exists => Ok(()),
                    found => Err(self.no_such(kind, &name, found).at(position)),
                }
            }
        }
    }

    fn has_broker(&self) -> bool {
        #[cfg(feature = "mq")]
        return self.inner.broker.is_some();
        #[cfg(not(feature = "mq"))]
        return false;
    }

    fn no_such(&self, kind: Kind, name: &str, found: Option<Kind>) -> SqlError {
        let error = SqlError::statement(None, format!("there is no {} `{name}`", kind.word()));
        if let Some(found) = found {
            return error.or(format!("it is a {0}: DROP {0} {name}", found.word()));
        }
        let objects = self.inner.objects.lock();
        let same_kind = objects.by_name.iter().filter(|(_, object)| object.kind == kind);
        match crate::sql::nearest(name, same_kind.map(|(name, _)| name.as_str())) {
            Some(near) => error.or(format!("did you mean `{near}`?")),
            None => error,
        }
    }

    /// What a statement of the catalog says is in force again.
    pub(super) async fn take_up(&self, sql: &str) -> Result<(), SqlError> {
        for statement in statement::parse_script(sql)? {
            if let Action::Create { name, what, .. } = statement.action {
                let prepared = self.prepare(&name, what).await?;
                let (topic, spec) = (prepared.topic.as_ref(), &prepared.spec);
                let publishing = self.connect(&name, topic, spec).await?;
                self.put_in_force(name, prepared, publishing)?;
            }
        }
        Ok(())
    }

    async fn create(&self, name: String, sql: &str, what: Definition) -> Result<(), SqlError> {
        if what.has_topic() && !self.has_broker() {
            return Err(SqlError::NoBroker { name });
        }
        self.check_name(&name, &what)?;
        // A crash behind either of these leaves an empty Log or table and perhaps a journal rule,
        // which the next CREATE takes over.
        let prepared = self.prepare(&name, what).await?;
        let (topic, spec) = (prepared.topic.as_ref(), &prepared.spec);
        let publishing = self.connect(&name, topic, spec).await?;
        self.store(&prepared, sql).await?;
        // A crash here is made good by the next start, which takes up the catalog.
        self.put_in_force(name, prepared, publishing)
    }
}
