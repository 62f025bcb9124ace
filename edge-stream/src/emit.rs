//! When the groups of a `GROUP BY` come out.

use std::fmt;
use std::time::Duration;

/// What `EMIT` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Emit {
    /// Once, when their window is closed.
    #[default]
    OnWindowClose,
    /// Each time that rows have changed them.
    Changes,
    /// Those that have changed, each time that event time has come on by so many microseconds.
    Every(i64),
}

impl Emit {
    /// Whether event time has come on far enough for the next time, from none or that to this.
    pub(crate) fn is_due(self, from: Option<i64>, to: i64) -> bool {
        match self {
            Emit::OnWindowClose | Emit::Changes => false,
            Emit::Every(micros) => {
                from.is_none_or(|from| from.div_euclid(micros) < to.div_euclid(micros))
            }
        }
    }

    /// What it adds to the explanation of an operator.
    pub(crate) fn explained(self) -> String {
        match self {
            Emit::OnWindowClose => String::new(),
            Emit::Changes => "; each change comes out".to_owned(),
            Emit::Every(micros) => {
                let every = Duration::from_micros(micros.unsigned_abs());
                format!("; what has changed comes out every {every:?} of event time")
            }
        }
    }
}

impl fmt::Display for Emit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Emit::OnWindowClose => "EMIT ON WINDOW CLOSE",
            Emit::Changes => "EMIT CHANGES",
            Emit::Every(_) => "EMIT EVERY",
        })
    }
}
