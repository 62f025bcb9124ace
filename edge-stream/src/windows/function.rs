//! What a window in `FROM` becomes: functions of a row's time, by whose names the planner of jobs
//! knows the windows.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, PrimitiveArray, PrimitiveBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::scalar::ScalarValue;

use super::{Shape, Windows};

/// A function of a time and the sizes of windows: `f(time, INTERVAL [, INTERVAL [, INTERVAL]])`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum WindowFunction {
    /// A bound of the window that a row lies in. Where it lies in several, only jobs understand
    /// it: the value is then where its pane begins.
    Bound(Shape, Side),
    /// A bound of each window that a row lies in, as a list: the starts of hopping windows, the
    /// ends of cumulating ones.
    Bounds(Shape),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Start,
    End,
}

const ALL: [WindowFunction; 8] = [
    WindowFunction::Bound(Shape::Tumble, Side::Start),
    WindowFunction::Bound(Shape::Tumble, Side::End),
    WindowFunction::Bound(Shape::Hop, Side::Start),
    WindowFunction::Bound(Shape::Hop, Side::End),
    WindowFunction::Bound(Shape::Cumulate, Side::Start),
    WindowFunction::Bound(Shape::Cumulate, Side::End),
    WindowFunction::Bounds(Shape::Hop),
    WindowFunction::Bounds(Shape::Cumulate),
];

/// All of them, for DataFusion.
pub(crate) fn functions() -> impl Iterator<Item = ScalarUDF> {
    ALL.into_iter().map(|function| {
        let signature = Signature::variadic_any(Volatility::Immutable);
        ScalarUDF::from(Function { function, signature })
    })
}

impl WindowFunction {
    pub(crate) fn name(self) -> &'static str {
        match self {
            WindowFunction::Bound(Shape::Tumble, Side::Start) => "tumble_start",
            WindowFunction::Bound(Shape::Tumble, Side::End) => "tumble_end",
            WindowFunction::Bound(Shape::Hop, Side::Start) => "hop_start",
            WindowFunction::Bound(Shape::Hop, Side::End) => "hop_end",
            WindowFunction::Bound(Shape::Cumulate, Side::Start) => "cumulate_start",
            WindowFunction::Bound(Shape::Cumulate, Side::End) => "cumulate_end",
            WindowFunction::Bounds(Shape::Hop) => "hop_starts",
            WindowFunction::Bounds(_) => "cumulate_ends",
        }
    }

    pub(crate) fn named(name: &str) -> Option<WindowFunction> {
        ALL.into_iter().find(|function| function.name() == name)
    }

    fn shape(self) -> Shape {
        match self {
            WindowFunction::Bound(shape, _) | WindowFunction::Bounds(shape) => shape,
        }
    }

    /// The windows that sizes stand for, as they stand behind the time in the call.
    pub(crate) fn windows(self, sizes: &[&ScalarValue]) -> Result<Windows> {
        let shape = self.shape();
        let (step, size, offset) = match (shape, sizes) {
            (Shape::Tumble, [size, offset @ ..]) => (size, size, offset),
            (_, [step, size, offset @ ..]) => (step, size, offset),
            _ => return plan_err!("{} needs the sizes of windows", self.name()),
        };
        let offset = match offset {
            [] => 0,
            [offset] => micros(offset).unwrap_or(i64::MAX),
            _ => return plan_err!("{} takes fewer arguments", self.name()),
        };
        let windows = Windows { shape, size: length(size)?, step: length(step)?, offset };
        check(&windows)?;
        Ok(windows)
    }
}

/// Far from where sums of points in time overflow.
const MAX_WINDOW_MICROS: i64 = 10_000 * 86_400_000_000;

/// Panes of one window. Each is state of its own, and a part of each answer.
const MAX_PANES: i64 = 10_000;

fn check(windows: &Windows) -> Result<()> {
    if windows.shape == Shape::Cumulate && windows.size % windows.step != 0 {
        return plan_err!("the size of CUMULATE windows is a multiple of their step");
    }
    if windows.offset.checked_abs().is_none_or(|offset| offset > MAX_WINDOW_MICROS) {
        return plan_err!("a window's offset is a fixed time of at most 10000 days");
    }
    if windows.panes() > MAX_PANES {
        let (shape, panes) = (windows.shape, windows.panes());
        return plan_err!(
            "{shape:?} windows of this size and step are made of {panes} panes, the greatest time \
             that divides both, and at most {MAX_PANES} are kept"
        );
    }
    Ok(())
}

/// The length of a window in microseconds.
pub(crate) fn length(size: &ScalarValue) -> Result<i64> {
    match micros(size) {
        Some(micros) if (1..=MAX_WINDOW_MICROS).contains(&micros) => Ok(micros),
        _ => plan_err!(
            "a window's size is a fixed time from 1 microsecond to 10000 days, such as INTERVAL \
             '10 seconds'"
        ),
    }
}

fn micros(size: &ScalarValue) -> Option<i64> {
    let micros = match size {
        ScalarValue::IntervalMonthDayNano(Some(size)) if size.months == 0 => {
            i128::from(size.days) * 86_400_000_000 + i128::from(size.nanoseconds) / 1000
        }
        ScalarValue::IntervalDayTime(Some(size)) => {
            i128::from(size.days) * 86_400_000_000 + i128::from(size.milliseconds) * 1000
        }
        _ => return None,
    };
    i64::try_from(micros).ok()
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Function {
    function: WindowFunction,
    signature: Signature,
}

impl Function {
    fn bounds(&self, windows: &Windows, times: &[Option<i64>], kind: &DataType) -> ArrayRef {
        let field = Arc::new(Field::new_list_field(kind.clone(), true));
        let values = PrimitiveBuilder::<TimestampMicrosecondType>::new();
        let values = values.with_data_type(kind.clone());
        let mut lists = ListBuilder::new(values).with_field(field);
        for time in times {
            let pane = time.map(|time| windows.pane_of(time));
            let mut next = pane.and_then(|pane| windows.first(pane, i64::MIN));
            while let (Some(pane), Some(window)) = (pane, next) {
                let by_start = self.function == WindowFunction::Bounds(Shape::Hop);
                lists.values().append_value(if by_start { window.start } else { window.end });
                next = windows.first(pane, window.end);
            }
            lists.append(time.is_some());
        }
        Arc::new(lists.finish())
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let zone = match types {
            [DataType::Timestamp(_, zone), sizes @ ..] if !sizes.is_empty() => {
                if let Some(other) = sizes.iter().find(|one| !matches!(one, DataType::Interval(_)))
                {
                    return plan_err!("a window's size is an INTERVAL, not {other}");
                }
                zone.clone()
            }
            [DataType::Timestamp(..)] | [] => {
                return plan_err!("a window needs a time column and an INTERVAL");
            }
            [time, ..] => {
                return plan_err!("a window needs a TIMESTAMP column, this one is {time}");
            }
        };
        let kind = DataType::Timestamp(TimeUnit::Microsecond, zone);
        Ok(match self.function {
            WindowFunction::Bound(..) => kind,
            WindowFunction::Bounds(_) => DataType::new_list(kind, true),
        })
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let kind = self.return_type(&types)?;
        let sizes: Option<Vec<_>> = args.scalar_arguments.iter().skip(1).copied().collect();
        if let Some(sizes) = sizes {
            self.function.windows(&sizes)?;
        }
        Ok(Arc::new(Field::new(self.name(), kind, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let Some((time, sizes)) = args.args.split_first() else {
            return exec_err!("{} takes a time", self.name());
        };
        let sizes = sizes.iter().map(|size| match size {
            ColumnarValue::Scalar(size) => Ok(size),
            ColumnarValue::Array(_) => exec_err!("the size of a window is the same for all rows"),
        });
        let windows = self.function.windows(&sizes.collect::<Result<Vec<_>>>()?)?;
        let zone = match time.data_type() {
            DataType::Timestamp(_, zone) => zone,
            other => return exec_err!("a window needs a TIMESTAMP column, this one is {other}"),
        };
        let kind = DataType::Timestamp(TimeUnit::Microsecond, zone);
        let times = cast(&time.to_array(args.number_rows)?, &kind)?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let of_pane = |pane: i64| match self.function {
            WindowFunction::Bound(Shape::Tumble, Side::End) => pane.saturating_add(windows.size),
            _ => pane,
        };
        let column: ArrayRef = match self.function {
            WindowFunction::Bound(..) => {
                let bounds: PrimitiveArray<TimestampMicrosecondType> =
                    times.unary(|time| of_pane(windows.pane_of(time)));
                Arc::new(bounds.with_data_type(kind))
            }
            WindowFunction::Bounds(_) => {
                self.bounds(&windows, &times.iter().collect::<Vec<_>>(), &kind)
            }
        };
        Ok(ColumnarValue::Array(column))
    }
}
