//! Window functions over the rows of one key, in order of event time.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{concat, filter, take};
use arrow::datatypes::Float64Type;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::Accumulator;
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;
use datafusion::scalar::ScalarValue;

use super::carried::Carried;
use super::frame::{Frame, Keep};

/// A function with its arguments, by their places among the arguments of the operator.
#[derive(Debug, Clone)]
pub(crate) enum Function {
    /// The value so many rows in front, else the default.
    Lag {
        argument: usize,
        rows: usize,
        default: ScalarValue,
    },
    RowNumber,
    /// The first or last value of the frame.
    Value {
        argument: usize,
        is_last: bool,
        ignores_nulls: bool,
        frame: Frame,
    },
    /// Whether a value differs from the one before, or, with a band, by more from the one that was
    /// reported last.
    Changed {
        argument: usize,
        band: Option<f64>,
    },
    Aggregate(Box<Aggregate>),
}

#[derive(Debug, Clone)]
pub(crate) struct Aggregate {
    pub(crate) function: Arc<AggregateFunctionExpr>,
    pub(crate) arguments: Range<usize>,
    pub(crate) filter: Option<usize>,
    pub(crate) frame: Frame,
}

/// Rows of one key: those that were kept, then new ones.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) columns: &'a [ArrayRef],
    pub(super) times: &'a [i64],
    /// Where the new ones begin.
    pub(super) new: usize,
}

impl Run<'_> {
    fn rows(&self) -> Range<usize> {
        self.new..self.times.len()
    }
}

impl Function {
    pub(super) fn keep(&self) -> Keep {
        match self {
            Function::Lag { rows, .. } => Keep { rows: *rows, range: None },
            Function::Value { frame, .. } => frame.keep(),
            Function::Aggregate(aggregate) => aggregate.frame.keep(),
            Function::RowNumber | Function::Changed { .. } => Keep::default(),
        }
    }

    /// What a key that is new carries.
    pub(super) fn start(&self) -> Result<Carried, DataFusionError> {
        Ok(match self {
            Function::RowNumber => Carried::Count(0),
            Function::Changed { .. } | Function::Value { frame: Frame::Unbounded { .. }, .. } => {
                Carried::Value(None)
            }
            Function::Aggregate(aggregate) => match aggregate.frame {
                Frame::Unbounded { .. } => {
                    Carried::Accumulator(aggregate.function.create_accumulator()?)
                }
                _ => Carried::Nothing,
            },
            Function::Lag { .. } | Function::Value { .. } => Carried::Nothing,
        })
    }

    /// The values for the new rows.
    pub(super) fn evaluate(
        &self,
        run: &Run<'_>,
        carried: &mut Carried,
    ) -> Result<ArrayRef, DataFusionError> {
        match (self, carried) {
            (Function::Lag { argument, rows, default }, _) => {
                lag(&run.columns[*argument], run, *rows, default)
            }
            (Function::RowNumber, Carried::Count(count)) => {
                let first = *count + 1;
                *count += run.rows().len() as u64;
                Ok(Arc::new(UInt64Array::from_iter_values(first..=*count)))
            }
            (Function::Value { argument, is_last, ignores_nulls, frame }, carried) => {
                let column = &run.columns[*argument];
                match carried {
                    Carried::Value(value) if *is_last => {
                        last_so_far(column, run, *frame, *ignores_nulls, value)
                    }
                    Carried::Value(value) => {
                        first_so_far(column, run, *frame, *ignores_nulls, value)
                    }
                    _ => value_in_frame(column, run, *frame, *is_last, *ignores_nulls),
                }
            }
            (Function::Changed { argument, band: None }, Carried::Value(last)) => {
                changed(&run.columns[*argument], run, last)
            }
            (Function::Changed { argument, band: Some(band) }, Carried::Value(last)) => {
                out_of_band(&run.columns[*argument], run, *band, last)
            }
            (Function::Aggregate(aggregate), Carried::Accumulator(so_far)) => {
                aggregate.so_far(run, so_far.as_mut())
            }
            (Function::Aggregate(aggregate), _) => aggregate.in_frame(run),
            (function, carried) => unreachable!("{function:?} does not start as {carried:?}"),
        }
    }
}

fn lag(
    column: &ArrayRef,
    run: &Run<'_>,
    rows: usize,
    default: &ScalarValue,
) -> Result<ArrayRef, DataFusionError> {
    let new = run.rows().len();
    let missing = rows.saturating_sub(run.new).min(new);
    let there = column.slice((run.new + missing).saturating_sub(rows), new - missing);
    if missing == 0 {
        return Ok(there);
    }
    let missing = default.to_array_of_size(missing)?;
    Ok(concat(&[&missing, &there])?)
}

fn value_in_frame(
    column: &ArrayRef,
    run: &Run<'_>,
    frame: Frame,
    is_last: bool,
    ignores_nulls: bool,
) -> Result<ArrayRef, DataFusionError> {
    let is_wanted = |row: &usize| !ignores_nulls || column.is_valid(*row);
    let places = run.rows().map(|row| {
        let mut rows = frame.around(row, run.times);
        let place = if is_last { rows.rfind(is_wanted) } else { rows.find(is_wanted) };
        place.map(|place| place as u64)
    });
    Ok(take(column, &places.collect::<UInt64Array>(), None)?)
}

fn first_so_far(
    column: &ArrayRef,
    run: &Run<'_>,
    frame: Frame,
    ignores_nulls: bool,
    first: &mut Option<ScalarValue>,
) -> Result<ArrayRef, DataFusionError> {
    let mut values = Vec::with_capacity(run.rows().len());
    let mut seen = run.new;
    for row in run.rows() {
        let end = frame.around(row, run.times).end;
        while first.is_none() && seen < end {
            if !ignores_nulls || column.is_valid(seen) {
                *first = Some(ScalarValue::try_from_array(column, seen)?);
            }
            seen += 1;
        }
        values.push(first.clone().map_or_else(|| ScalarValue::try_from(column.data_type()), Ok)?);
    }
    ScalarValue::iter_to_array(values)
}

fn last_so_far(
    column: &ArrayRef,
    run: &Run<'_>,
    frame: Frame,
    ignores_nulls: bool,
    last: &mut Option<ScalarValue>,
) -> Result<ArrayRef, DataFusionError> {
    let before = last.clone().map_or_else(|| ScalarValue::try_from(column.data_type()), Ok)?;
    let before = before.to_array()?;
    let all = concat(&[&before, &column.slice(run.new, run.rows().len())])?;
    let (mut place, mut seen) = (0u64, run.new);
    let places = run.rows().map(|row| {
        while seen < frame.around(row, run.times).end {
            seen += 1;
            if !ignores_nulls || all.is_valid(seen - run.new) {
                place = (seen - run.new) as u64;
            }
        }
        place
    });
    let values = take(&all, &UInt64Array::from_iter_values(places), None)?;
    if place > 0 {
        *last = Some(ScalarValue::try_from_array(&values, values.len() - 1)?);
    }
    Ok(values)
}

/// Nulls are a value like others here, and the first row of a key is a change.
fn changed(
    column: &ArrayRef,
    run: &Run<'_>,
    last: &mut Option<ScalarValue>,
) -> Result<ArrayRef, DataFusionError> {
    let new = column.slice(run.new, run.rows().len());
    let first: ArrayRef = match last {
        None => Arc::new(BooleanArray::from(vec![true])),
        Some(last) => Arc::new(distinct(&new.slice(0, 1), &last.to_array()?)?),
    };
    let rest = new.len() - 1;
    let rest: ArrayRef = Arc::new(distinct(&new.slice(1, rest), &new.slice(0, rest))?);
    *last = Some(ScalarValue::try_from_array(&new, new.len() - 1)?);
    Ok(concat(&[&first, &rest])?)
}

fn out_of_band(
    column: &ArrayRef,
    run: &Run<'_>,
    band: f64,
    last: &mut Option<ScalarValue>,
) -> Result<ArrayRef, DataFusionError> {
    let values = column.as_primitive::<Float64Type>();
    let mut reported = match last {
        Some(ScalarValue::Float64(value)) => Some(*value),
        _ => None,
    };
    let rows = run.rows().map(|row| values.is_valid(row).then(|| values.value(row)));
    let changes: BooleanArray =
        rows.map(|value| Some(reports(&mut reported, value, band))).collect();
    *last = reported.map(ScalarValue::Float64);
    Ok(Arc::new(changes))
}

/// Whether a value is to be reported; if so it is the last that was.
pub(crate) fn reports(reported: &mut Option<Option<f64>>, value: Option<f64>, band: f64) -> bool {
    let reports = match (*reported, value) {
        (None, _) => true,
        (Some(None), value) => value.is_some(),
        (Some(Some(_)), None) => true,
        // A NaN is in no band but that of a NaN.
        (Some(Some(last)), Some(value)) => match last.is_nan() || value.is_nan() {
            true => last.is_nan() != value.is_nan(),
            false => (value - last).abs() > band,
        },
    };
    if reports {
        *reported = Some(value);
    }
    reports
}

impl Aggregate {
    fn columns(&self, run: &Run<'_>, rows: Range<usize>) -> Result<Vec<ArrayRef>, DataFusionError> {
        let slice = |column: &ArrayRef| column.slice(rows.start, rows.len());
        let columns = run.columns[self.arguments.clone()].iter().map(slice);
        let Some(filtered) = self.filter else { return Ok(columns.collect()) };
        let mask = slice(&run.columns[filtered]);
        columns.map(|column| Ok(filter(&column, mask.as_boolean())?)).collect()
    }

    /// Over all rows of the key so far.
    fn so_far(
        &self,
        run: &Run<'_>,
        so_far: &mut dyn Accumulator,
    ) -> Result<ArrayRef, DataFusionError> {
        let (mut seen, mut values) = (run.new, Vec::with_capacity(run.rows().len()));
        for row in run.rows() {
            let end = self.frame.around(row, run.times).end;
            if seen < end {
                so_far.update_batch(&self.columns(run, seen..end)?)?;
                seen = end;
            }
            values.push(so_far.evaluate()?);
        }
        ScalarValue::iter_to_array(values)
    }

    /// Taking a row out again is exact for these. For sums of floats it is not: what is left of
    /// a large value would stay, and be another after a restart.
    fn can_slide(&self) -> bool {
        match self.function.fun().name() {
            "count" | "min" | "max" => true,
            "sum" => {
                !self.function.is_distinct() && !self.function.field().data_type().is_floating()
            }
            _ => false,
        }
    }

    fn in_frame(&self, run: &Run<'_>) -> Result<ArrayRef, DataFusionError> {
        let empty = self.function.default_value(self.function.field().data_type())?;
        let mut sliding = match self.can_slide() {
            true => Some(self.function.create_sliding_accumulator()?)
                .filter(|accumulator| accumulator.supports_retract_batch()),
            false => None,
        };
        let first = self.frame.around(run.new, run.times).start;
        let mut held = first..first;
        let mut values = Vec::with_capacity(run.rows().len());
        for row in run.rows() {
            let rows = self.frame.around(row, run.times);
            let value = match &mut sliding {
                Some(accumulator) => {
                    if held.end < rows.end {
                        accumulator.update_batch(&self.columns(run, held.end..rows.end)?)?;
                    }
                    if held.start < rows.start {
                        accumulator.retract_batch(&self.columns(run, held.start..rows.start)?)?;
                    }
                    held = rows.clone();
                    accumulator.evaluate()?
                }
                None => {
                    let mut accumulator = self.function.create_accumulator()?;
                    accumulator.update_batch(&self.columns(run, rows.clone())?)?;
                    accumulator.evaluate()?
                }
            };
            values.push(if rows.is_empty() { empty.clone() } else { value });
        }
        ScalarValue::iter_to_array(values)
    }
}
