//! `sum` of whole numbers that says when it does not fit, where DataFusion's goes on from the other end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, ArrowNumericType, AsArray, BooleanArray};
use arrow::datatypes::{DataType, FieldRef, Int64Type, UInt64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, EmitTo, GroupsAccumulator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

/// Takes the place of DataFusion's `sum`, which does all but add whole numbers.
pub(crate) fn function() -> AggregateUDF {
    AggregateUDF::new_from_impl(CheckedSum { of: sum_udaf() })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct CheckedSum {
    of: Arc<AggregateUDF>,
}

impl CheckedSum {
    fn of(&self) -> &dyn AggregateUDFImpl {
        self.of.inner().as_ref()
    }
}

impl AggregateUDFImpl for CheckedSum {
    fn name(&self) -> &str {
        self.of().name()
    }

    fn signature(&self) -> &Signature {
        self.of().signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.of().return_type(arguments)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        self.of().state_fields(args)
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        let Some(total) = Total::of(&args) else { return self.of().accumulator(args) };
        match args.is_distinct {
            false => Ok(Box::new(total)),
            true => Ok(Box::new(OfDistinct { total, values: self.of().accumulator(args)? })),
        }
    }

    fn create_sliding_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn Accumulator>> {
        let Some(total) = Total::of(&args) else {
            return self.of().create_sliding_accumulator(args);
        };
        match args.is_distinct {
            false => Ok(Box::new(total)),
            true => {
                let values = self.of().create_sliding_accumulator(args)?;
                Ok(Box::new(OfDistinct { total, values }))
            }
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs<'_>) -> bool {
        self.of().groups_accumulator_supported(args)
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs<'_>,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        match args.return_field.data_type() {
            DataType::Int64 => Ok(Box::new(Totals::new::<Int64Type>(&args))),
            DataType::UInt64 => Ok(Box::new(Totals::new::<UInt64Type>(&args))),
            _ => self.of().create_groups_accumulator(args),
        }
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.of().reverse_expr()
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.of().order_sensitivity()
    }

    fn value_from_stats(&self, args: &StatisticsArgs<'_>) -> Option<ScalarValue> {
        self.of().value_from_stats(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.of().documentation()
    }

    fn set_monotonicity(&self, kind: &DataType) -> SetMonotonicity {
        self.of().set_monotonicity(kind)
    }
}

/// The sum of so many values, exact until it is asked for.
#[derive(Debug)]
struct Total {
    name: String,
    kind: DataType,
    sum: i128,
    values: u64,
}

impl Total {
    /// `None` for what is not whole numbers.
    fn of(args: &AccumulatorArgs<'_>) -> Option<Total> {
        let kind = args.return_field.data_type().clone();
        let is_whole = matches!(kind, DataType::Int64 | DataType::UInt64);
        is_whole.then(|| Total { name: args.name.to_owned(), kind, sum: 0, values: 0 })
    }

    fn add(&mut self, values: &ArrayRef, sign: i128) {
        let sum: i128 = match self.kind {
            DataType::Int64 => {
                values.as_primitive::<Int64Type>().iter().flatten().map(i128::from).sum()
            }
            _ => values.as_primitive::<UInt64Type>().iter().flatten().map(i128::from).sum(),
        };
        self.sum += sign * sum;
    }

    fn value(&self) -> Result<ScalarValue> {
        if self.values == 0 {
            return ScalarValue::try_from(&self.kind);
        }
        let value = match self.kind {
            DataType::Int64 => i64::try_from(self.sum).ok().map(ScalarValue::from),
            _ => u64::try_from(self.sum).ok().map(ScalarValue::from),
        };
        value.ok_or_else(|| does_not_fit(&self.name))
    }
}

impl Accumulator for Total {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], 1);
        self.values += (values[0].len() - values[0].null_count()) as u64;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.add(&values[0], -1);
        self.values -= (values[0].len() - values[0].null_count()) as u64;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.value()?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.value()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.name.capacity()
    }
}

/// The sum of values that DataFusion keeps each once.
#[derive(Debug)]
struct OfDistinct {
    /// Has no values before it is asked.
    total: Total,
    values: Box<dyn Accumulator>,
}

impl Accumulator for OfDistinct {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.update_batch(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.values.supports_retract_batch()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        (self.total.sum, self.total.values) = (0, 0);
        for kept in self.values.state()? {
            if let ScalarValue::List(list) = kept {
                self.total.update_batch(&[Arc::clone(list.values())])?;
            }
        }
        self.total.value()
    }

    fn size(&self) -> usize {
        self.total.size() + self.values.size()
    }
}

/// The sums of groups, each in a number of its own. One that does not fit at any moment is an error,
/// whatever would have been taken from it later.
struct Totals {
    name: String,
    has_overflowed: Arc<AtomicBool>,
    sums: Box<dyn GroupsAccumulator>,
}

impl Totals {
    fn new<T: ArrowNumericType + Send>(args: &AccumulatorArgs<'_>) -> Totals {
        let has_overflowed = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&has_overflowed);
        let add = move |sum: &mut T::Native, value: T::Native| match sum.add_checked(value) {
            Ok(more) => *sum = more,
            Err(_) => flag.store(true, Ordering::Relaxed),
        };
        let sums = PrimitiveGroupsAccumulator::<T, _>::new(args.return_field.data_type(), add);
        Totals { name: args.name.to_owned(), has_overflowed, sums: Box::new(sums) }
    }

    fn checked<R>(&self, done: R) -> Result<R> {
        match self.has_overflowed.load(Ordering::Relaxed) {
            false => Ok(done),
            true => Err(does_not_fit(&self.name)),
        }
    }
}

impl GroupsAccumulator for Totals {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.sums.update_batch(values, groups, filter, total)?;
        self.checked(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.sums.merge_batch(states, groups, total)?;
        self.checked(())
    }

    fn evaluate(&mut self, of: EmitTo) -> Result<ArrayRef> {
        self.sums.evaluate(of)
    }

    fn state(&mut self, of: EmitTo) -> Result<Vec<ArrayRef>> {
        self.sums.state(of)
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        self.sums.convert_to_state(values, filter)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.name.capacity() + self.sums.size()
    }
}

fn does_not_fit(name: &str) -> DataFusionError {
    let reason = format!(
        "{name} does not fit into a whole number of 64 bits; sum it as DECIMAL: \
         sum(CAST(.. AS DECIMAL(38, 0)))"
    );
    DataFusionError::Execution(reason)
}
