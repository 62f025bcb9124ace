//! What is stored: kinds of entries, and the types of their columns.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::scalar::ScalarValue;

use super::{Function, Ordering};
use crate::error::OperatorError;
use crate::operator::state::{damaged, number_of, numbered};

/// What the entries of the stored state are, in the order in which they are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Emitted = 0,
    Carried = 1,
    History = 2,
    Pending = 3,
}

/// The types of what is stored.
#[derive(Debug)]
pub(super) struct Types {
    pub(super) arguments: Vec<DataType>,
    pub(super) pending: Vec<DataType>,
    pub(super) history: Vec<DataType>,
    /// For each function.
    pub(super) carried: Vec<Vec<DataType>>,
    pub(super) keys: Vec<DataType>,
}

impl Types {
    pub(super) fn new(of: &Ordering, functions: &[Function]) -> Result<Types, DataFusionError> {
        let types = |exprs: &[Arc<dyn PhysicalExpr>]| {
            exprs.iter().map(|expr| expr.data_type(&of.input)).collect::<Result<Vec<_>, _>>()
        };
        let (keys, arguments) = (types(&of.keys)?, types(&of.arguments)?);
        let carried = functions.iter().map(|function| {
            let state = function.start()?.state(function, &arguments)?;
            Ok(state.iter().map(ScalarValue::data_type).collect())
        });
        let carried = carried.collect::<Result<_, DataFusionError>>()?;
        let numbered = [DataType::UInt64, DataType::Int64];
        let history = numbered.iter().chain(&keys).chain(&arguments).cloned().collect();
        let pending = of.input.fields().iter().map(|field| field.data_type().clone()).collect();
        Ok(Types { arguments, pending, history, carried, keys })
    }
}

impl Kind {
    pub(super) fn key(self, number: u64) -> i64 {
        numbered(self as u8, number)
    }

    pub(super) fn of(key: i64) -> Result<(Kind, u64), OperatorError> {
        let all = [Kind::Emitted, Kind::Carried, Kind::History, Kind::Pending];
        let (kind, number) = number_of(key);
        let kind = all.get(usize::from(kind)).ok_or_else(|| damaged("it has unknown parts"))?;
        Ok((*kind, number))
    }
}
