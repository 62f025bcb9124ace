//! What it costs to find the receivers of a message, in this process: no socket, no codec.

use std::time::{Duration, Instant};

use edge_mq::{Broker, Limits, LocalSubscription, Message};

use super::generator::own_cpu_time;
use super::work::Work;
use crate::Result;

/// So many subscriptions match each message, of so many with a wildcard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Point {
    pub(super) work: Work,
    matches: usize,
    filters: usize,
}

/// Messages between two looks at the clock.
const BATCH: usize = 100;

/// More matches of as many filters, and as many matches of more filters.
pub(super) const CURVE: [Point; 7] = [
    point(Work::Match1Of1k, 1, 1_000),
    point(Work::Match1Of100k, 1, 100_000),
    point(Work::Match10Of100k, 10, 100_000),
    point(Work::Match100Of100k, 100, 100_000),
    point(Work::Match1000Of1k, 1_000, 1_000),
    point(Work::Match1000Of10k, 1_000, 10_000),
    point(Work::Match1000Of100k, 1_000, 100_000),
];

const fn point(work: Work, matches: usize, filters: usize) -> Point {
    Point { work, matches, filters }
}

/// Processor time for each message, from publishing to being in the queues of all its receivers.
pub(super) fn cost(point: Point, time: Duration) -> Result<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut limits = Limits::default();
        limits.sessions = point.filters;
        let broker = Broker::builder().limits(limits).start().await?;
        let subscriptions = subscribe(&broker, point).await?;
        let messages = messages(point)?;
        let (published, taken) = publish(&broker, &messages, time).await?;
        check(&broker, point, published)?;
        drop((broker, subscriptions));
        // No run publishes 2^32 messages within its seconds.
        Ok(taken / u32::try_from(published)?)
    })
}

/// Each line of a plant has as many receivers as a message is to match; the filters of all lines
/// lie side by side below one `+`.
async fn subscribe(broker: &Broker, point: Point) -> Result<Vec<LocalSubscription>> {
    let local = broker.local();
    let mut subscriptions = Vec::new();
    for number in 0..point.filters {
        let filter = format!("plant/+/line{}/#", number / point.matches);
        subscriptions.push(local.subscribe(filter, 1).await?);
    }
    Ok(subscriptions)
}

/// One for each line.
fn messages(point: Point) -> Result<Vec<Message>> {
    let lines = 0..point.filters / point.matches;
    lines
        .map(|line| Ok(Message::new(format!("plant/north/line{line}/oven/3").parse()?, "749")))
        .collect()
}

/// Publishes them in turns; how many it published, and what processor time that took.
async fn publish(
    broker: &Broker,
    messages: &[Message],
    time: Duration,
) -> Result<(usize, Duration)> {
    let local = broker.local();
    let (start, cpu, mut published) = (Instant::now(), own_cpu_time()?, 0);
    // Whole turns, so that each queue is full by the end of the first and what is dropped tells
    // what was delivered.
    while start.elapsed() < time || published < messages.len() {
        for _ in 0..BATCH {
            local.publish(messages[published % messages.len()].clone()).await?;
            published += 1;
        }
    }
    Ok((published, own_cpu_time()?.saturating_sub(cpu)))
}

/// Whether each message reached as many queues as it should: all but what the queues hold was
/// dropped for something newer.
fn check(broker: &Broker, point: Point, published: usize) -> Result<()> {
    let dropped = broker.stats().dropped_full;
    let expected = (published * point.matches - point.filters) as u64;
    match dropped == expected {
        true => Ok(()),
        false => Err(format!("{dropped} went through full queues, not {expected}").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_reaches_as_many_queues_as_filters_match() {
        for matches in [1, 5, 50] {
            cost(point(Work::Match1Of1k, matches, 50), Duration::ZERO).unwrap();
        }
    }

    #[test]
    fn too_few_and_too_many_deliveries_are_noticed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let point = point(Work::Match1Of1k, 1, 1);
            let broker = Broker::builder().start().await.unwrap();
            let _subscriptions = subscribe(&broker, point).await.unwrap();
            let messages = messages(point).unwrap();
            let (published, _) = publish(&broker, &messages, Duration::ZERO).await.unwrap();
            check(&broker, point, published).unwrap();
            assert!(check(&broker, point, published - 1).is_err());
            assert!(check(&broker, point, published + 1).is_err());
        });
    }
}
