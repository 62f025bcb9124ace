//! What can go wrong with SQL and with running it, one enum for each family of calls.

use std::fmt;
use std::sync::Arc;
#[cfg(feature = "db")]
use std::time::Duration;

use arrow::error::ArrowError;
use datafusion::error::DataFusionError;

/// A place in a script: both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line of the script.
    pub line: u64,
    /// Character of the line.
    pub column: u64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// The place in front of a message.
fn placed(position: &Option<Position>) -> String {
    position.map_or(String::new(), |position| format!("{position}: "))
}

/// Why a statement or query did nothing. In a script those before it have been carried out.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SqlError {
    /// The text is no statement, names what is not there, or asks for what cannot be done.
    /// Correct it as the message says.
    #[error(
        "{}{reason}{}",
        placed(position),
        help.as_ref().map_or(String::new(), |help| format!("; {help}"))
    )]
    Statement {
        /// Where in the text, if that is known.
        position: Option<Position>,
        /// What is wrong.
        reason: String,
        /// What would work, if that is known.
        help: Option<String>,
    },
    /// The name is taken.
    #[error("{}`{name}` is there already: drop it first, or write IF NOT EXISTS", placed(position))]
    Exists {
        /// Where the statement begins, if there is one.
        position: Option<Position>,
        /// The name.
        name: String,
    },
    /// What is to be dropped feeds others.
    #[error("{}`{name}` feeds {}: drop them first", placed(position), by.join(", "))]
    InUse {
        /// Where the statement begins.
        position: Option<Position>,
        /// What was to be dropped.
        name: String,
        /// What reads it.
        by: Vec<String>,
    },
    /// The statement needs an MQTT broker and the engine has none.
    #[error(
        "{}`{name}` is about a topic, and the engine has no broker: give it one when it is built",
        placed(position)
    )]
    NoBroker {
        /// Where the statement begins.
        position: Option<Position>,
        /// The stream or sink.
        name: String,
    },
    /// The query was right and failed on the data.
    #[error("query failed: {}", one_line(source))]
    Query {
        /// What DataFusion said.
        source: Arc<DataFusionError>,
    },
    /// The answer does not fit into memory. Ask for less, or aggregate.
    #[error("answer is larger than {limit_bytes} bytes: ask for fewer rows or columns")]
    AnswerTooLarge {
        /// What [`EngineBuilder::query_memory_bytes`](crate::EngineBuilder) allows.
        limit_bytes: usize,
    },
    /// The query needs memory that it may not take, and could not go on from disk. Ask for less, or
    /// allow more.
    #[cfg(feature = "db")]
    #[error(
        "query needs more memory than the {limit_bytes} bytes that queries may take together: ask \
         for fewer rows or groups, or allow more by `EngineBuilder::query_memory_bytes`"
    )]
    QueryMemory {
        /// What [`EngineBuilder::query_memory_bytes`](crate::EngineBuilder) allows.
        limit_bytes: usize,
        /// What DataFusion said.
        source: Arc<DataFusionError>,
    },
    /// The query was given up. Ask for less, or allow more.
    #[cfg(feature = "db")]
    #[error(
        "query took longer than {limit:?}, the limit: ask for less, by conditions on `_time` or \
         `_seq`, or allow more by `EngineBuilder::query_time`"
    )]
    QueryTime {
        /// What [`EngineBuilder::query_time`](crate::EngineBuilder) allows.
        limit: Duration,
    },
    /// As many subscriptions are open as may be. Drop one, or allow more:
    /// [`EngineBuilder::subscriptions`](crate::EngineBuilder).
    #[error("too many subscriptions are open: drop one, or allow more when the engine is built")]
    TooManySubscriptions,
    /// What was tried out failed on the rows, or holds more than a job may.
    #[cfg(feature = "db")]
    #[error("statement fails on these rows: {reason}")]
    TryOut {
        /// What went wrong.
        reason: Arc<str>,
    },
    /// What was to replace a view or sink failed on the rows of the Log, and the old one goes on.
    #[cfg(feature = "db")]
    #[error("could not build the new `{name}`, the old one stays: {reason}")]
    Build {
        /// The view or sink.
        name: String,
        /// What went wrong.
        reason: Arc<str>,
    },
    /// A name could not be opened in the database.
    #[cfg(feature = "db")]
    #[error("could not open what the statement needs: {0}")]
    Open(Arc<edge_db::OpenError>),
    /// The database refused the write; nothing of the statement is stored.
    #[cfg(feature = "db")]
    #[error("could not store the statement")]
    Write(#[from] edge_db::WriteError),
    /// The database could not be read.
    #[cfg(feature = "db")]
    #[error("could not read the database")]
    Read(#[from] edge_db::ReadError),
    /// The broker did not take the journal rule of a topic.
    #[cfg(feature = "mq")]
    #[error("broker did not take the rule that stores a topic: {0}")]
    Journal(Arc<edge_mq::JournalError>),
    /// The broker does not give the messages of a live topic.
    #[cfg(feature = "mq")]
    #[error("broker does not give the messages of a topic: {0}")]
    Record(edge_mq::SubscribeError),
    /// The engine was shut down.
    #[error("engine is closed")]
    Closed,
}

#[cfg(feature = "db")]
impl From<edge_db::OpenError> for SqlError {
    fn from(error: edge_db::OpenError) -> SqlError {
        SqlError::Open(Arc::new(error))
    }
}

#[cfg(feature = "mq")]
impl From<edge_mq::SubscribeError> for SqlError {
    fn from(error: edge_mq::SubscribeError) -> SqlError {
        SqlError::Record(error)
    }
}

#[cfg(feature = "mq")]
impl From<edge_mq::JournalError> for SqlError {
    fn from(error: edge_mq::JournalError) -> SqlError {
        SqlError::Journal(Arc::new(error))
    }
}

impl SqlError {
    pub(crate) fn statement(
        position: impl Into<Option<Position>>,
        reason: impl Into<String>,
    ) -> SqlError {
        SqlError::Statement { position: position.into(), reason: reason.into(), help: None }
    }

    /// The same, with what would work.
    pub(crate) fn or(self, would_work: impl Into<String>) -> SqlError {
        match self {
            SqlError::Statement { position, reason, .. } => {
                SqlError::Statement { position, reason, help: Some(would_work.into()) }
            }
            other => other,
        }
    }

    /// The same, with a place if it has none of its own.
    #[cfg(feature = "db")]
    pub(crate) fn at(mut self, place: Position) -> SqlError {
        if let SqlError::Statement { position, .. }
        | SqlError::Exists { position, .. }
        | SqlError::InUse { position, .. }
        | SqlError::NoBroker { position, .. } = &mut self
        {
            position.get_or_insert(place);
        }
        self
    }

    /// What is about to go feeds these.
    #[cfg(feature = "db")]
    pub(crate) fn in_use(name: &str, by: &[String]) -> SqlError {
        let by = by.iter().map(|name| format!("`{name}`")).collect();
        SqlError::InUse { position: None, name: name.to_owned(), by }
    }

    /// What DataFusion said about a statement that it could not plan.
    pub(crate) fn planning(error: &DataFusionError) -> SqlError {
        let span = error.diagnostic().and_then(|diagnostic| diagnostic.span);
        let position = span.map(|span| span.start).filter(|start| start.line > 0);
        let position = position.map(|at| Position { line: at.line, column: at.column });
        let text = one_line(error);
        // A wrong name comes with all right ones.
        let Some((reason, names)) = text.split_once(" Valid fields are ") else {
            return SqlError::statement(position, text);
        };
        let wrong = reason.strip_prefix("No field named ").unwrap_or(reason);
        let wrong = wrong.split(". ").next().unwrap_or(wrong).trim_end_matches('.');
        let column = |path: &'_ str| path.rsplit('.').next().unwrap_or_default().to_owned();
        let (wrong, known): (_, Vec<_>) = (column(wrong), names.split(", ").map(column).collect());
        let error = SqlError::statement(position, format!("there is no column `{wrong}`"));
        match crate::sql::nearest(&wrong, known.iter().map(String::as_str)) {
            Some(near) => error.or(format!("did you mean `{near}`?")),
            None => error.or(format!("there are {}", known.join(", "))),
        }
    }

    #[cfg(feature = "db")]
    pub(crate) fn query(error: DataFusionError) -> SqlError {
        SqlError::Query { source: Arc::new(error) }
    }
}

/// Why an operator could not go on. The job goes back to its last checkpoint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// An expression or aggregate failed on the data.
    #[error("could not compute: {}", one_line(.0))]
    Compute(#[from] DataFusionError),
    /// Rows do not fit the columns that were declared.
    #[error("rows do not have the columns of the stream: {0}")]
    Columns(#[from] ArrowError),
    /// A row has no event time, which windows and watermarks need.
    #[error("column `{column}` is null in {rows} rows, and it is the event time")]
    NoEventTime {
        /// The event time's column.
        column: String,
        /// How many rows.
        rows: usize,
    },
    /// The open windows hold more than the limit: fewer groups, smaller windows or a shorter
    /// watermark delay need less.
    #[error(
        "open windows hold {used_bytes} bytes of state in {groups} groups, the limit is {limit_bytes}"
    )]
    StateFull {
        /// Groups of all open windows.
        groups: usize,
        /// Bytes that they take.
        used_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The groups of a GROUP BY without a window, which are all kept, take more than the limit:
    /// fewer keys, or a window, need less.
    #[error(
        "GROUP BY without a window holds {used_bytes} bytes of state in {groups} groups, the limit \
         is {limit_bytes}"
    )]
    GroupsFull {
        /// How many groups there are.
        groups: usize,
        /// Bytes that they take.
        used_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// Rows that wait for their partners in a join take more than the limit: a shorter interval or
    /// watermark delay, fewer columns, or conditions on the rows of one side need less.
    #[error(
        "{rows} rows wait for partners in a join and take {used_bytes} bytes, the limit is \
         {limit_bytes}"
    )]
    JoinFull {
        /// Rows of both sides.
        rows: usize,
        /// Bytes that they take.
        used_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The rows that an `OVER` keeps, and that wait for the watermark in front of it, take more
    /// than the limit: fewer keys, shorter frames or a shorter watermark delay need less.
    #[error(
        "OVER holds {used_bytes} bytes of state for {keys} keys and {waiting} rows that wait for \
         the watermark, the limit is {limit_bytes}"
    )]
    RowsFull {
        /// Rows that wait until the watermark has passed them.
        waiting: usize,
        /// Keys of `PARTITION BY`.
        keys: usize,
        /// Bytes that both take.
        used_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The open windows of `COUNT_WINDOW`, `EVENT_WINDOW` or `STATE_WINDOW`, and the rows that wait
    /// for the watermark in front of them, take more than the limit: fewer keys, a shorter `LONGEST`,
    /// or a shorter watermark delay need less.
    #[error(
        "{windows} windows that rows close and {waiting} rows that wait for the watermark take \
         {used_bytes} bytes of state, the limit is {limit_bytes}"
    )]
    RowWindowsFull {
        /// Windows that are open.
        windows: usize,
        /// Rows that wait until the watermark has passed them.
        waiting: usize,
        /// Bytes that both take.
        used_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// So many keys would get so many rows at once, were all of them silent: a shorter GAP_FILL,
    /// longer windows, or fewer keys need less.
    #[error(
        "gaps of {keys} keys are filled over {windows} windows each: more than {limit_rows} rows \
         at once, the limit"
    )]
    GapsFull {
        /// Keys of `GROUP BY` that had rows of late.
        keys: usize,
        /// Windows that are filled for each of them.
        windows: u64,
        /// The limit.
        limit_rows: usize,
    },
    /// The rows of which `MATCH_RECOGNIZE` does not know yet whether they are in a match, and that
    /// wait for the watermark in front of it, take more than the limit: a shorter `WITHIN`, fewer
    /// columns, or conditions that fewer rows fulfil need less.
    #[error(
        "MATCH_RECOGNIZE holds {rows} rows whose matches are not decided and takes {used_bytes} \
         bytes, the limit is {limit_bytes}"
    )]
    MatchesFull {
        /// Rows that are kept, and that wait until the watermark has passed them.
        rows: usize,
        /// Bytes that they take.
        used_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// More ways through the pattern of a `MATCH_RECOGNIZE` are open at one row than are followed:
    /// conditions of which fewer hold at a time, and fewer repetitions in each other, need less.
    #[error(
        "MATCH_RECOGNIZE has more than {limit} partial matches from one row, which is the limit"
    )]
    PartialMatches {
        /// The limit.
        limit: usize,
    },
    /// The state of all steps of a query takes more than the limit: fewer groups or keys, smaller
    /// windows, shorter intervals or a shorter watermark delay need less, or the engine allows more.
    #[error(
        "state of {used_bytes} bytes, the limit of a job is {limit_bytes}: most of it, \
         {operator_bytes} bytes in {holds}, is that of `{operator}`"
    )]
    JobFull {
        /// Bytes of all steps.
        used_bytes: usize,
        /// What [`Pipeline::limit_state`](crate::Pipeline::limit_state) or
        /// `EngineBuilder::job_state_bytes` allows.
        limit_bytes: usize,
        /// The step that has the most of it, as EXPLAIN shows it.
        operator: String,
        /// Bytes of that.
        operator_bytes: usize,
        /// What they are: so many groups, rows, keys.
        holds: String,
    },
    /// The stored state is not what this query writes.
    #[error("stored state does not belong to this query: {reason}")]
    State {
        /// What does not fit.
        reason: String,
    },
}

impl From<crate::matching::Crowded> for OperatorError {
    fn from(crowded: crate::matching::Crowded) -> OperatorError {
        OperatorError::PartialMatches { limit: crowded.limit }
    }
}

/// DataFusion's message without its prefixes and line breaks.
pub(crate) fn one_line(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let text = text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let mut text = text.as_str();
    for prefix in
        ["Error during planning: ", "Schema error: ", "Execution error: ", "Arrow error: "]
    {
        text = text.strip_prefix(prefix).unwrap_or(text);
    }
    text.trim_end_matches('.').to_owned()
}

/// An error and its causes, as one line. DataFusion's errors say their causes themselves, and these
/// are not said again.
#[cfg(feature = "db")]
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.map(ToString::to_string).fold(error.to_string(), |line, cause| {
        let said = cause.trim_start_matches("Arrow error: ");
        let is_said = line.contains(said.trim_start_matches("Execution error: "));
        if is_said { line } else { format!("{line}: {cause}") }
    })
}
