//! Report by exception, as window functions: `changed(x)`, `changed(x, band)` and `latest(x)`.
//!
//! Here they run in bounded queries; jobs run them as `operator::over` does.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::logical_expr::function::{PartitionEvaluatorArgs, WindowUDFFieldArgs};
use datafusion::logical_expr::{
    PartitionEvaluator, Signature, Volatility, WindowUDF, WindowUDFImpl,
};
use datafusion::scalar::ScalarValue;

use crate::operator::over::reports;

/// The names by which the planner of jobs knows them.
pub(crate) const CHANGED: &str = "changed";
pub(crate) const LATEST: &str = "latest";

pub(super) fn functions() -> [WindowUDF; 2] {
    let signature = || Signature::user_defined(Volatility::Immutable);
    let changed =
        Report { name: CHANGED, aliases: vec!["had_changed".into()], signature: signature() };
    let latest = Report { name: LATEST, aliases: Vec::new(), signature: signature() };
    [WindowUDF::from(changed), WindowUDF::from(latest)]
}

/// The band of `changed(x, band)`: a number that is not negative.
pub(crate) fn band(value: &ScalarValue) -> Result<f64> {
    match value {
        ScalarValue::Float64(Some(band)) if *band >= 0.0 => Ok(*band),
        _ => {
            plan_err!("the band of changed(x, band) is a number such as 0.5, the same for all rows")
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Report {
    name: &'static str,
    aliases: Vec<String>,
    signature: Signature,
}

impl WindowUDFImpl for Report {
    fn name(&self) -> &str {
        self.name
    }

    fn aliases(&self) -> &[String] {
        &self.aliases
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        match types {
            [kind] => Ok(vec![kind.clone()]),
            [kind, band] if self.name == CHANGED && kind.is_numeric() && band.is_numeric() => {
                Ok(vec![DataType::Float64, DataType::Float64])
            }
            _ if self.name == CHANGED => {
                plan_err!("write changed(column), or changed(number, band) with a band such as 0.5")
            }
            _ => plan_err!("latest takes one column"),
        }
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let is_latest = self.name == LATEST;
        Ok(Box::new(Rows { is_latest, has_band: args.input_exprs().len() == 2 }))
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let kind = match (self.name, args.input_fields()) {
            (LATEST, [field]) => field.data_type().clone(),
            _ => DataType::Boolean,
        };
        Ok(Arc::new(Field::new(args.name(), kind, self.name == LATEST)))
    }
}

#[derive(Debug)]
struct Rows {
    is_latest: bool,
    has_band: bool,
}

impl PartitionEvaluator for Rows {
    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        let Some(column) = values.first() else { return exec_err!("it takes a column") };
        if self.is_latest {
            let mut last = None;
            let places = (0..rows).map(|row| {
                last = if column.is_valid(row) { Some(row as u64) } else { last };
                last
            });
            return Ok(take(column, &places.collect::<UInt64Array>(), None)?);
        }
        if rows == 0 {
            return Ok(Arc::new(BooleanArray::from(Vec::<bool>::new())));
        }
        if self.has_band {
            let band = band(&ScalarValue::try_from_array(&values[1], 0)?)?;
            let column = column.as_primitive::<Float64Type>();
            let mut reported = None;
            let changes = column.iter().map(|value| Some(reports(&mut reported, value, band)));
            return Ok(Arc::new(changes.collect::<BooleanArray>()));
        }
        let rest = distinct(&column.slice(1, rows - 1), &column.slice(0, rows - 1))?;
        Ok(concat(&[&BooleanArray::from(vec![true]), &rest])?)
    }
}
