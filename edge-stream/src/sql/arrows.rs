//! `payload->>'a' = 'x'` as people mean it. The parser gives the arrows of JSON less weight than `=`, and
//! reads `payload->>('a' = 'x')`.

use std::mem::replace;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, Value};

/// Has an arrow bind closer than what stands around it without parentheses. What it consists of has
/// been through this.
pub(super) fn bind(expr: &mut Expr) {
    if !is_arrow(expr) {
        return;
    }
    let Expr::BinaryOp { mut left, op, mut right } = replace(expr, hole()) else { return };
    let of = Box::new(replace(last(&mut left), hole()));
    let key = Box::new(replace(first(&mut right), hole()));
    *last(&mut left) = Expr::BinaryOp { left: of, op, right: key };
    *first(&mut right) = *left;
    *expr = *right;
}

fn is_arrow(expr: &Expr) -> bool {
    matches!(expr, Expr::BinaryOp { op: BinaryOperator::Arrow | BinaryOperator::LongArrow, .. })
}

fn hole() -> Expr {
    Expr::value(Value::Null)
}

/// The operand that an expression begins with.
fn first(expr: &mut Expr) -> &mut Expr {
    if is_arrow(expr) {
        return expr;
    }
    match expr {
        Expr::BinaryOp { left, .. } => first(left),
        Expr::IsNull(of)
        | Expr::IsNotNull(of)
        | Expr::IsTrue(of)
        | Expr::IsNotTrue(of)
        | Expr::IsFalse(of)
        | Expr::IsNotFalse(of)
        | Expr::IsDistinctFrom(of, _)
        | Expr::IsNotDistinctFrom(of, _) => first(of),
        Expr::Like { expr, .. } | Expr::ILike { expr, .. } | Expr::SimilarTo { expr, .. } => {
            first(expr)
        }
        Expr::Between { expr, .. } | Expr::InList { expr, .. } | Expr::InSubquery { expr, .. } => {
            first(expr)
        }
        expr => expr,
    }
}

/// The operand that an expression ends with.
fn last(expr: &mut Expr) -> &mut Expr {
    if is_arrow(expr) {
        return expr;
    }
    match expr {
        Expr::BinaryOp { right, .. } => last(right),
        Expr::IsDistinctFrom(_, with) | Expr::IsNotDistinctFrom(_, with) => last(with),
        Expr::Like { pattern, escape_char: None, .. }
        | Expr::ILike { pattern, escape_char: None, .. } => last(pattern),
        Expr::Between { high, .. } => last(high),
        expr => expr,
    }
}
