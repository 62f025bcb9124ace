//! The statements around queries: what becomes a stream, a view, a sink.

use arrow::datatypes::Field;
use datafusion::sql::sqlparser::ast::Expr;
use datafusion::sql::sqlparser::tokenizer::Token;

use super::Script;
use super::emit::JobQuery;
use super::sink::SinkDefinition;
use super::table::{Insert, TableDefinition};
use super::times::Times;
use crate::decode::format::Format;
use crate::error::{Position, SqlError};
use crate::topic::TopicPattern;

const STATEMENTS: &str = "a script has CREATE STREAM, CREATE MATERIALIZED VIEW, CREATE SINK, CREATE \
                          TABLE, DROP, INSERT, PAUSE and RESUME; SELECT, SHOW, DESCRIBE and EXPLAIN \
                          go to `sql`";

/// One statement of a script, and its text.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    pub(crate) text: String,
    pub(crate) position: Position,
    pub(crate) action: Action,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Create {
        name: String,
        if_there: IfThere,
        what: Definition,
    },
    Drop {
        name: String,
        if_exists: bool,
        kind: Kind,
    },
    Insert(Box<Insert>),
    /// `kind` is `None` where the statement says JOB.
    Pause {
        name: String,
        kind: Option<Kind>,
    },
    Resume {
        name: String,
        kind: Option<Kind>,
    },
}

/// What becomes of the thing that has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IfThere {
    /// It stays, and the statement fails.
    Refuse,
    /// It stays.
    Keep,
    Replace,
}

/// What is created.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Definition {
    Stream(Box<StreamDefinition>),
    View(Box<JobQuery>),
    Sink(Box<SinkDefinition>, Box<JobQuery>),
    Table(TableDefinition),
}

/// What a name stands for, and what its job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Looks for records that are no rows.
    Stream,
    /// Keeps the answer of a query.
    View,
    /// Publishes the answer of a query.
    Sink,
    /// Rows that statements bring; it has no job.
    Table,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StreamDefinition {
    pub(crate) source: Source,
    /// None where they are those of a table.
    pub(crate) columns: Vec<Field>,
    pub(crate) format: Format,
    pub(crate) times: Times,
    pub(crate) watermark: Option<(String, Expr)>,
    /// How far behind it rows may come.
    pub(crate) lateness_micros: i64,
    /// How much memory the messages of a live topic may take; `None` if what comes is stored.
    pub(crate) live_bytes: Option<usize>,
    /// Where the columns belong, if they were left out.
    pub(crate) infer: Option<Gap>,
}

/// A place in the text of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// In bytes; of the script while that is parsed, then of the statement.
    pub(crate) at: usize,
    /// Whether parentheses are around it, with a watermark behind it.
    pub(crate) in_parentheses: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Source {
    Topic(TopicPattern),
    Log(String),
    /// The changes of a table or view.
    Table(String),
}

impl Definition {
    /// Whether it needs a broker.
    pub(crate) fn has_topic(&self) -> bool {
        match self {
            Definition::Stream(stream) => matches!(stream.source, Source::Topic(_)),
            Definition::View(_) | Definition::Table(_) => false,
            Definition::Sink(sink, _) => sink.to.topic().is_some(),
        }
    }

    /// How much memory the messages of a live topic may take.
    pub(crate) fn live_bytes(&self) -> Option<usize> {
        match self {
            Definition::Stream(stream) => stream.live_bytes,
            Definition::View(_) | Definition::Sink(..) | Definition::Table(_) => None,
        }
    }

    /// The query of a view or sink.
    pub(crate) fn query(&self) -> Option<&JobQuery> {
        match self {
            Definition::Stream(_) | Definition::Table(_) => None,
            Definition::View(query) | Definition::Sink(_, query) => Some(query),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Definition::Stream(_) => Kind::Stream,
            Definition::View(_) => Kind::View,
            Definition::Sink(..) => Kind::Sink,
            Definition::Table(_) => Kind::Table,
        }
    }
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Stream => "STREAM",
            Kind::View => "MATERIALIZED VIEW",
            Kind::Sink => "SINK",
            Kind::Table => "TABLE",
        }
    }
}

/// All statements of a script. Nothing has been carried out when this fails.
pub(crate) fn parse_script(sql: &str) -> Result<Vec<Statement>, SqlError> {
    let mut script = Script::new(sql)?;
    let mut statements = Vec::new();
    while !script.is_at_end() {
        statements.push(script.statement()?);
    }
    Ok(statements)
}

impl Script<'_> {
    pub(super) fn statement(&mut self) -> Result<Statement, SqlError> {
        let first = self.parser.peek_token_ref().span.start;
        let (position, from) = (self.here(&first), self.offset(first));
        let mut action = if self.word("CREATE") {
            self.create()?
        } else if self.word("DROP") {
            self.drop_statement()?
        } else if self.word("PAUSE") {
            let kind = self.job_kind("PAUSE")?;
            Action::Pause { name: self.name()?, kind }
        } else if self.word("RESUME") {
            let kind = self.job_kind("RESUME")?;
            Action::Resume { name: self.name()?, kind }
        } else if self.is_next("INSERT", 0) {
            Action::Insert(Box::new(self.insert()?))
        } else {
            let found = self.parser.peek_token_ref().token.to_string();
            return Err(SqlError::statement(position, format!("`{found}` begins no statement"))
                .or(STATEMENTS));
        };
        self.expect_end()?;
        let to = self.offset(self.parser.peek_token_ref().span.start);
        let text = self.sql[from..to].trim_end().to_owned();
        if let Action::Create { what: Definition::Stream(stream), .. } = &mut action
            && let Some(gap) = &mut stream.infer
        {
            gap.at -= from;
        }
        Ok(Statement { text, position, action })
    }

    fn create(&mut self) -> Result<Action, SqlError> {
        let replace = self.words(&["OR", "REPLACE"])?;
        let kind = self.kind("CREATE")?;
        let at = self.parser.peek_token_ref().clone();
        let if_there = match (replace, self.words(&["IF", "NOT", "EXISTS"])?) {
            (true, true) => {
                return Err(self
                    .at(&at, "OR REPLACE and IF NOT EXISTS exclude each other")
                    .or("leave one of them out"));
            }
            (true, false) => IfThere::Replace,
            (false, true) => IfThere::Keep,
            (false, false) => IfThere::Refuse,
        };
        let name = self.name()?;
        let what = match kind {
            Kind::Stream => Definition::Stream(Box::new(self.stream_definition()?)),
            Kind::View => {
                self.expect_word("AS")?;
                Definition::View(Box::new(self.query()?))
            }
            Kind::Sink => {
                let sink = Box::new(self.sink_definition()?);
                self.expect_word("AS")?;
                Definition::Sink(sink, Box::new(self.query()?))
            }
            Kind::Table => Definition::Table(self.table_definition()?),
        };
        Ok(Action::Create { name, if_there, what })
    }

    fn drop_statement(&mut self) -> Result<Action, SqlError> {
        let kind = self.kind("DROP")?;
        let if_exists = self.words(&["IF", "EXISTS"])?;
        Ok(Action::Drop { name: self.name()?, if_exists, kind })
    }

    fn job_kind(&mut self, verb: &str) -> Result<Option<Kind>, SqlError> {
        if self.word("JOB") {
            return Ok(None);
        }
        let at = self.parser.peek_token_ref().clone();
        let help = format!("{verb} JOB name, or the kind of it: STREAM, MATERIALIZED VIEW or SINK");
        match self.kind(verb) {
            Ok(Kind::Table) => Err(self.at(&at, "a table has no job").or(help)),
            Ok(kind) => Ok(Some(kind)),
            Err(error) => Err(error.or(help)),
        }
    }

    fn kind(&mut self, verb: &str) -> Result<Kind, SqlError> {
        if self.word("STREAM") {
            return Ok(Kind::Stream);
        }
        if self.word("SINK") {
            return Ok(Kind::Sink);
        }
        if self.word("TABLE") {
            return Ok(Kind::Table);
        }
        if self.word("MATERIALIZED") {
            self.expect_word("VIEW")?;
            return Ok(Kind::View);
        }
        let next = self.parser.peek_token_ref().clone();
        let reason = match &next.token {
            Token::EOF => format!("{verb} what?"),
            found => format!("{verb} `{found}` is no statement"),
        };
        Err(self.at(&next, reason).or(format!("{verb} STREAM, MATERIALIZED VIEW, SINK or TABLE")))
    }
}
