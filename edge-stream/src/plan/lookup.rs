//! `JOIN` of a stream with a table.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::logical_expr::{Expr, Join, JoinType};

use super::join::{Table, equality};
use super::lineage::{self, Lineage};
use super::{Builder, Rows};
use crate::error::SqlError;
use crate::operator::lookup_join::{KeyPart, LookupJoin};

impl Builder<'_> {
    pub(super) fn lookup_join(
        &mut self,
        join: &Join,
        conditions: Vec<Expr>,
        of: &Table,
    ) -> Result<Rows, SqlError> {
        let Rows { from, mut lineage } = self.node(&join.left)?;
        let Table { table, columns } = of;
        let schema = table.rows.schema();
        lineage::check_spread(&conditions, &join.schema, &lineage)?;
        if table.lookup.key().is_empty() {
            return Err(without_key(of));
        }
        let (mut key, mut rest) = (Vec::new(), conditions);
        for column in table.lookup.key() {
            let field = schema.field(*column);
            let found = rest.iter().position(|condition| {
                let equal = equality(condition, join);
                equal.is_some_and(|(_, right)| is_column(right, field.name(), field.data_type()))
            });
            let Some(found) = found else { return Err(without_part(of, field.name())) };
            let condition = rest.remove(found);
            let (value, _) = equality(&condition, join).expect("it was found as an equality");
            let value = self.physical(value, join.left.schema())?;
            key.push(KeyPart { value, kind: field.data_type().clone() });
        }
        let operator = LookupJoin {
            lookup: Arc::clone(&table.lookup),
            key,
            columns: columns.clone(),
            filter: self.all_of(rest, &join.schema)?,
            is_outer: join.join_type == JoinType::Left,
            output: Arc::clone(join.schema.inner()),
        };
        if !self.tables.contains(&table.name) {
            self.tables.push(table.name.clone());
        }
        // One row at most for each row: what told rows apart still does.
        lineage.extend(columns.iter().map(|_| Lineage::Other));
        let from = self.flow.push(&[from], operator);
        Ok(Rows { from, lineage })
    }
}

/// Whether an expression is this column of a table, or a cast of it that keeps its values apart.
fn is_column(expr: &Expr, name: &str, kind: &DataType) -> bool {
    match expr {
        Expr::Column(column) => column.name == name,
        Expr::Cast(cast) => {
            let to = cast.field.data_type();
            let is_number = |kind: &DataType| kind.is_integer() || kind.is_floating();
            let keeps = (is_number(kind) && is_number(to))
                || (is_text(kind) && is_text(to))
                || (kind.is_temporal() && to.is_temporal());
            keeps && is_column(&cast.expr, name, kind)
        }
        _ => false,
    }
}

fn is_text(kind: &DataType) -> bool {
    matches!(kind, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

fn without_key(of: &Table) -> SqlError {
    let reason = format!("rows of `{}` have no key that they can be looked up by", of.table.name);
    let would_work =
        "join a view whose query has GROUP BY, or a table whose key is text or a number";
    SqlError::statement(None, reason).or(would_work)
}

fn without_part(of: &Table, missing: &str) -> SqlError {
    let Table { table, .. } = of;
    let schema = table.rows.schema();
    let key = table.lookup.key().iter().map(|column| {
        let name = schema.field(*column).name();
        format!("stream.column = {}.{name}", table.name)
    });
    let key = key.collect::<Vec<_>>().join(" AND ");
    let reason = format!(
        "table `{}` is looked up by its key, and ON does not say what `{missing}` equals",
        table.name
    );
    SqlError::statement(None, reason).or(format!("write ON {key}"))
}
