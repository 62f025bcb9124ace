//! Windows that rows themselves open and close, as DataFusion sees them: `COUNT_WINDOW(..)` and the
//! others in `FROM` become a projection with two functions of a row's time, as sessions do. Where rows
//! are grouped by these, [`resolve`](resolve::resolve) puts a node of its own in place of the groups,
//! which both jobs and bounded queries know how to run.

pub(crate) mod node;
pub(crate) mod resolve;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use crate::windows::function::{Side, length};

/// Windows of one `GROUP BY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RowWindows {
    pub(crate) rule: Rule,
    /// From the first row of a window to its end is at most this.
    pub(crate) longest_micros: i64,
}

/// What opens and closes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Rule {
    /// A window has so many rows, and the next one begins `every` rows behind it.
    Count { rows: u32, every: u32 },
    /// From a row of which one condition holds to that of which the other does.
    Event,
    /// As long as a value stays what it is.
    State,
}

/// The functions in `FROM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Count,
    Event,
    State,
}

const ALL: [(Kind, Side, &str); 6] = [
    (Kind::Count, Side::Start, "count_start"),
    (Kind::Count, Side::End, "count_end"),
    (Kind::Event, Side::Start, "event_start"),
    (Kind::Event, Side::End, "event_end"),
    (Kind::State, Side::Start, "state_start"),
    (Kind::State, Side::End, "state_end"),
];

impl Kind {
    /// What it is called in `FROM`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Count => "COUNT_WINDOW",
            Kind::Event => "EVENT_WINDOW",
            Kind::State => "STATE_WINDOW",
        }
    }

    /// How many arguments of the function are its own, behind time and longest duration: numbers of
    /// rows, conditions, or a value.
    fn own(self) -> usize {
        match self {
            Kind::Count | Kind::Event => 2,
            Kind::State => 1,
        }
    }
}

impl fmt::Display for RowWindows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Rule::Count { rows, every } if rows == every => write!(f, "windows of {rows} rows"),
            Rule::Count { rows, every } => write!(f, "windows of {rows} rows each {every}"),
            Rule::Event => write!(f, "windows from one condition to another"),
            Rule::State => write!(f, "windows of a value that stays"),
        }
    }
}

impl RowWindows {
    /// When an open window is let go, in words.
    pub(crate) fn until(&self) -> String {
        let longest = Duration::from_micros(self.longest_micros.unsigned_abs());
        match self.rule {
            Rule::Count { .. } => {
                format!("it has its rows; without them it is dropped {longest:?} behind its first")
            }
            Rule::Event => {
                format!(
                    "the second condition holds, at the latest {longest:?} behind its first row"
                )
            }
            Rule::State => {
                format!("the value is another, at the latest {longest:?} behind its first row")
            }
        }
    }
}

/// The functions, for DataFusion.
pub(crate) fn functions() -> impl Iterator<Item = ScalarUDF> {
    ALL.into_iter().map(|(kind, _, name)| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::from(Function { kind, name, signature })
    })
}

/// Which of the functions is called, if it is one of them.
pub(crate) fn named(name: &str) -> Option<(Kind, Side)> {
    ALL.iter().find(|(.., own)| *own == name).map(|(kind, side, _)| (*kind, *side))
}

/// A call of one of the functions: `count_start(time, longest, rows, every, keys of PARTITION BY ..)`,
/// and for the others conditions or a value in the place of numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) kind: Kind,
    pub(crate) side: Side,
    pub(crate) args: &'a [Expr],
}

impl<'a> Call<'a> {
    pub(crate) fn of(call: &'a ScalarFunction) -> Option<Call<'a>> {
        let (kind, side) = named(call.func.name())?;
        (call.args.len() >= 2 + kind.own()).then_some(Call { kind, side, args: &call.args })
    }

    /// What rows open and close windows by.
    fn deciding(&self) -> &'a [Expr] {
        match self.kind {
            Kind::Count => &[],
            Kind::Event | Kind::State => &self.args[2..2 + self.kind.own()],
        }
    }

    /// The keys of `PARTITION BY`.
    pub(crate) fn keys(&self) -> &'a [Expr] {
        &self.args[2 + self.kind.own()..]
    }

    /// What stays the same in a window.
    pub(crate) fn value(&self) -> Option<&'a Expr> {
        self.deciding().first().filter(|_| self.kind == Kind::State)
    }

    fn windows(&self) -> Result<RowWindows> {
        let Expr::Literal(longest, _) = &self.args[1] else {
            return plan_err!("LONGEST is the same for all rows");
        };
        let number = |place: usize| match &self.args[place] {
            Expr::Literal(ScalarValue::Int64(Some(number)), _) => u32::try_from(*number).ok(),
            _ => None,
        };
        let rule = match (self.kind, number(2), self.args.get(3).and_then(|_| number(3))) {
            (Kind::Event, ..) => Rule::Event,
            (Kind::State, ..) => Rule::State,
            (Kind::Count, Some(rows), Some(every)) => Rule::Count { rows, every },
            (Kind::Count, ..) => return plan_err!("COUNT_WINDOW takes numbers of rows"),
        };
        Ok(RowWindows { rule, longest_micros: length(longest)? })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    kind: Kind,
    name: &'static str,
    signature: Signature,
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(_, zone), DataType::Interval(_), own @ ..]
                if own.len() >= self.kind.own() =>
            {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            [DataType::Timestamp(..), ..] | [] => {
                plan_err!("{} needs a time column, and what windows are made by", self.name)
            }
            [time, ..] => plan_err!("a window needs a TIMESTAMP column, this one is {time}"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let kind = self.return_type(&types)?;
        if let Some(Some(longest)) = args.scalar_arguments.get(1) {
            length(longest)?;
        }
        Ok(Arc::new(Field::new(self.name, kind, true)))
    }

    /// The time, as it is: the window that a row is in is known once rows are grouped.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some(time) = args.args.first() else {
            return exec_err!("{} takes a time", self.name);
        };
        let times = cast(&time.to_array(args.number_rows)?, args.return_field.data_type())?;
        Ok(ColumnarValue::Array(times))
    }
}
