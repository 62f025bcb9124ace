//! DataFusion as this crate uses it: its functions, ours, and the places of mistakes kept.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, PrimitiveArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit, TimestampMicrosecondType};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::context::SessionContext;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};
use datafusion::prelude::SessionConfig;
use datafusion::scalar::ScalarValue;

/// The functions that a window in `FROM` becomes; the planner of jobs knows them by these names.
pub(crate) const TUMBLE_START: &str = "tumble_start";
pub(crate) const TUMBLE_END: &str = "tumble_end";

/// `memory_bytes` is for all queries that run at a time; what can spill to disk beyond it does.
pub(crate) fn context(memory_bytes: usize) -> SessionContext {
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory_bytes, 1.0).build_arc();
    let runtime = runtime.expect("a limit and default settings make a runtime");
    let config = SessionConfig::new()
        .with_information_schema(true)
        .set_bool("datafusion.sql_parser.collect_spans", true)
        // Text is Utf8 everywhere: in streams, in states, in what is stored.
        .set_bool("datafusion.sql_parser.map_string_types_to_utf8view", false);
    let state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .build();
    let context = SessionContext::new_with_state(state);
    context.register_udf(ScalarUDF::from(WindowBound::new(TUMBLE_START)));
    context.register_udf(ScalarUDF::from(WindowBound::new(TUMBLE_END)));
    context
}

/// Start or end of the tumbling window that a point in time lies in: `f(time, INTERVAL)`.
///
/// Windows are aligned to the Unix epoch and include their start, not their end.
#[derive(Debug, PartialEq, Eq, Hash)]
struct WindowBound {
    name: &'static str,
    signature: Signature,
}

impl WindowBound {
    fn new(name: &'static str) -> WindowBound {
        WindowBound { name, signature: Signature::any(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for WindowBound {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [DataType::Timestamp(_, zone), DataType::Interval(_)] => {
                Ok(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))
            }
            [DataType::Timestamp(..), size] => {
                plan_err!("a window's size is an INTERVAL, not {size}")
            }
            [time, ..] => plan_err!("a window needs a TIMESTAMP column, this one is {time}"),
            [] => plan_err!("a window needs a time column and an INTERVAL"),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<_> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let kind = self.return_type(&types)?;
        if let Some(Some(size)) = args.scalar_arguments.get(1) {
            micros(size)?;
        }
        Ok(Arc::new(Field::new(self.name, kind, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [time, size] = args.args.as_slice() else {
            return exec_err!("{} takes two arguments", self.name);
        };
        let ColumnarValue::Scalar(size) = size else {
            return exec_err!("the size of a window is the same for all rows");
        };
        let size = micros(size)?;
        let end = if self.name == TUMBLE_END { size } else { 0 };
        let times = cast(&time.to_array(args.number_rows)?, args.return_field.data_type())?;
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let bounds: PrimitiveArray<TimestampMicrosecondType> =
            times.unary(|time| window_start(time, size).saturating_add(end));
        let bounds = bounds.with_data_type(args.return_field.data_type().clone());
        Ok(ColumnarValue::Array(Arc::new(bounds) as ArrayRef))
    }
}

fn window_start(time: i64, size: i64) -> i64 {
    time.div_euclid(size).saturating_mul(size)
}

/// Far from where sums of points in time overflow.
const MAX_WINDOW_MICROS: i64 = 10_000 * 86_400_000_000;

/// The size of a window in microseconds.
pub(crate) fn micros(size: &ScalarValue) -> Result<i64> {
    let micros = match size {
        ScalarValue::IntervalMonthDayNano(Some(size)) if size.months == 0 => {
            let days = i128::from(size.days) * 86_400_000_000;
            Some(days + i128::from(size.nanoseconds) / 1000)
        }
        ScalarValue::IntervalDayTime(Some(size)) => {
            Some(i128::from(size.days) * 86_400_000_000 + i128::from(size.milliseconds) * 1000)
        }
        _ => None,
    };
    match micros.and_then(|micros| i64::try_from(micros).ok()) {
        Some(micros) if (1..=MAX_WINDOW_MICROS).contains(&micros) => Ok(micros),
        _ => plan_err!(
            "a window's size is a fixed time from 1 microsecond to 10000 days, such as INTERVAL \
             '10 seconds'"
        ),
    }
}
