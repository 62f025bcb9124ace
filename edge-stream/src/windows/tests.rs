use proptest::prelude::*;

use super::*;

fn windows() -> impl Strategy<Value = Windows> {
    let shape = prop_oneof![Just(Shape::Tumble), Just(Shape::Hop), Just(Shape::Cumulate)];
    (shape, 1i64..12, 1i64..12, -20i64..20).prop_map(|(shape, size, step, offset)| match shape {
        Shape::Tumble => Windows { shape, size, step: size, offset },
        Shape::Hop => Windows { shape, size, step, offset },
        Shape::Cumulate => Windows { shape, size: size * step, step, offset },
    })
}

/// All windows near these times, as the definition has them.
fn all(of: &Windows) -> Vec<Window> {
    let starts = -100..100;
    let mut all = Vec::new();
    for number in starts {
        match of.shape {
            Shape::Tumble | Shape::Hop => {
                let start = of.offset + number * of.step;
                all.push(Window { start, end: start + of.size });
            }
            Shape::Cumulate => {
                let start = of.offset + number * of.size;
                let ends = (1..=of.size / of.step).map(|step| start + step * of.step);
                all.extend(ends.map(|end| Window { start, end }));
            }
        }
    }
    all.sort();
    all
}

proptest! {
    #[test]
    fn grid_is_that_of_the_definition(of in windows(), time in -40i64..40, after in -40i64..60) {
        let all = all(&of);
        let pane = of.pane_of(time);
        prop_assert!(pane <= time && time < pane + of.pane());
        let holds = |window: &&Window| window.start <= time && time < window.end;
        // All rows of a pane lie in the same windows.
        for window in &all {
            let holds = window.start <= time && time < window.end;
            prop_assert_eq!(holds, window.start <= pane && pane + of.pane() <= window.end);
        }
        let first = all.iter().find(|window| holds(window) && window.end > after);
        prop_assert_eq!(of.first(pane, after), first.copied());
        if let Some(last) = all.iter().filter(holds).map(|window| window.end).max() {
            prop_assert_eq!(of.last_end(pane), last);
        }
        let next = all.iter().filter(|window| window.end > after).map(|window| window.start).min();
        prop_assert_eq!(Some(of.next_start(after)), next);
    }
}
