//! The answers, by loops over all events.

use std::collections::{BTreeMap, BTreeSet};

use crate::events::{Auction, Bid, Event, NEW_YEAR, Person, SECOND};

/// How far the watermark lies behind the newest event.
pub(crate) const DELAY: i64 = 10 * SECOND;

/// All events, by kind.
#[derive(Debug, Default)]
pub(crate) struct House {
    persons: Vec<Person>,
    auctions: Vec<Auction>,
    bids: Vec<Bid>,
}

/// Rows as text, cell by cell.
pub(crate) type Rows = Vec<String>;

macro_rules! row {
    ($($cell:expr),+) => { [$($cell.to_string()),+].join("|") };
}

impl House {
    pub(crate) fn new(events: &[Event]) -> House {
        let mut house = House::default();
        for event in events.iter().cloned() {
            match event {
                Event::Person(person) => house.persons.push(person),
                Event::Auction(auction) => house.auctions.push(auction),
                Event::Bid(bid) => house.bids.push(bid),
            }
        }
        house
    }

    pub(crate) fn q0(&self) -> Rows {
        let row = |b: &Bid| row![b.auction, b.bidder, b.price, b.ts - NEW_YEAR, b.extra];
        self.bids.iter().map(row).collect()
    }

    pub(crate) fn q1(&self) -> Rows {
        let euros = |bid: &Bid| 0.908 * bid.price as f64;
        self.bids
            .iter()
            .map(|bid| row![bid.auction, bid.bidder, format!("{:.6}", euros(bid))])
            .collect()
    }

    pub(crate) fn q2(&self) -> Rows {
        let wanted = self.bids.iter().filter(|bid| bid.auction % 123 == 0);
        wanted.map(|bid| row![bid.auction, bid.price]).collect()
    }

    pub(crate) fn q3(&self) -> Rows {
        let mut rows = Rows::new();
        for auction in self.auctions.iter().filter(|auction| auction.category == 10) {
            let near = |person: &&Person| ["OR", "ID", "CA"].contains(&person.state);
            let sellers =
                self.persons.iter().filter(|person| person.id == auction.seller).filter(near);
            rows.extend(sellers.map(|p| row![p.name, p.city, p.state, auction.id]));
        }
        rows
    }

    pub(crate) fn q4(&self) -> Rows {
        let mut by_category = BTreeMap::<i64, Vec<i64>>::new();
        for auction in &self.auctions {
            let bids = self.bids.iter().filter(|bid| bid.auction == auction.id);
            let bids = bids.filter(|bid| (auction.ts..=auction.expires).contains(&bid.ts));
            if let Some(price) = bids.map(|bid| bid.price).max() {
                by_category.entry(auction.category).or_default().push(price);
            }
        }
        let average = |prices: &[i64]| prices.iter().sum::<i64>() as f64 / prices.len() as f64;
        let row = |(category, prices): (&i64, &Vec<i64>)| {
            row![category, format!("{:.6}", average(prices))]
        };
        by_category.iter().map(row).collect()
    }

    /// Windows that have closed when these are all events of a stream.
    fn closed(times: impl Iterator<Item = i64>) -> impl Fn(i64) -> bool {
        let watermark = times.max().unwrap() - DELAY;
        move |end| end <= watermark
    }

    pub(crate) fn q5(&self) -> Rows {
        let is_closed = House::closed(self.bids.iter().map(|bid| bid.ts));
        let mut counts = BTreeMap::<i64, BTreeMap<i64, u64>>::new();
        for bid in &self.bids {
            let last = bid.ts.div_euclid(2 * SECOND) * 2 * SECOND;
            for start in (0..5).map(|n| last - n * 2 * SECOND) {
                *counts.entry(start).or_default().entry(bid.auction).or_default() += 1;
            }
        }
        let mut rows = Rows::new();
        for (start, counts) in counts.iter().filter(|(start, _)| is_closed(**start + 10 * SECOND)) {
            let most = counts.values().max().unwrap();
            let hottest = counts.iter().filter(|(_, count)| *count == most);
            rows.extend(hottest.map(|(auction, count)| row![start - NEW_YEAR, auction, count]));
        }
        rows
    }

    pub(crate) fn q7(&self) -> Rows {
        let is_closed = House::closed(self.bids.iter().map(|bid| bid.ts));
        let start = |bid: &Bid| bid.ts.div_euclid(10 * SECOND) * 10 * SECOND;
        let mut highest = BTreeMap::<i64, i64>::new();
        for bid in &self.bids {
            let price = highest.entry(start(bid)).or_default();
            *price = bid.price.max(*price);
        }
        let bids = self.bids.iter().filter(|bid| is_closed(start(bid) + 10 * SECOND));
        let bids = bids.filter(|bid| bid.price == highest[&start(bid)]);
        bids.map(|bid| row![bid.auction, bid.price, bid.bidder, start(bid) - NEW_YEAR]).collect()
    }

    pub(crate) fn q8(&self) -> Rows {
        let persons_closed = House::closed(self.persons.iter().map(|person| person.ts));
        let auctions_closed = House::closed(self.auctions.iter().map(|auction| auction.ts));
        let start = |ts: i64| ts.div_euclid(10 * SECOND) * 10 * SECOND;
        let sellers = self.auctions.iter().map(|auction| (auction.seller, start(auction.ts)));
        let sellers: BTreeSet<_> = sellers.collect();
        let new =
            self.persons.iter().filter(|person| sellers.contains(&(person.id, start(person.ts))));
        let new = new.filter(|person| {
            let end = start(person.ts) + 10 * SECOND;
            persons_closed(end) && auctions_closed(end)
        });
        new.map(|person| row![person.id, person.name, start(person.ts) - NEW_YEAR]).collect()
    }

    pub(crate) fn q11(&self) -> Rows {
        let is_closed = House::closed(self.bids.iter().map(|bid| bid.ts));
        let mut by_bidder = BTreeMap::<i64, Vec<i64>>::new();
        for bid in &self.bids {
            by_bidder.entry(bid.bidder).or_default().push(bid.ts);
        }
        let mut rows = Rows::new();
        for (bidder, times) in &mut by_bidder {
            times.sort_unstable();
            let sessions = times.chunk_by(|a, b| b - a < 10 * SECOND);
            for session in sessions {
                let (start, end) = (session[0], session[session.len() - 1] + 10 * SECOND);
                if is_closed(end) {
                    rows.push(row![bidder, start - NEW_YEAR, end - NEW_YEAR, session.len()]);
                }
            }
        }
        rows
    }

    pub(crate) fn q12(&self) -> Rows {
        // Arrivals are in order: nothing is waited for.
        let newest = self.bids.iter().map(|bid| bid.arrived).max().unwrap();
        let mut counts = BTreeMap::<(i64, i64), u64>::new();
        for bid in &self.bids {
            let start = bid.arrived.div_euclid(10 * SECOND) * 10 * SECOND;
            *counts.entry((start, bid.bidder)).or_default() += 1;
        }
        let closed = counts.iter().filter(|((start, _), _)| start + 10 * SECOND <= newest);
        closed.map(|((start, bidder), count)| row![bidder, start - NEW_YEAR, count]).collect()
    }

    pub(crate) fn q13(&self) -> Rows {
        let row = |bid: &Bid| row![bid.auction, bid.price, format!("value {}", bid.auction % 100)];
        self.bids.iter().map(row).collect()
    }

    pub(crate) fn q14(&self) -> Rows {
        let mut rows = Rows::new();
        for bid in &self.bids {
            let price = 0.908 * bid.price as f64;
            let hour = (bid.ts - NEW_YEAR) / SECOND / 3600 % 24;
            let time = match hour {
                8..=18 => "day",
                ..=6 | 20.. => "night",
                _ => "other",
            };
            if price > 1_000_000.0 && price < 50_000_000.0 {
                let count = bid.extra.matches('c').count();
                rows.push(row![bid.auction, bid.bidder, format!("{price:.6}"), time, count]);
            }
        }
        rows
    }
}
