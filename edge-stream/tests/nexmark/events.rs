//! An auction house as the Nexmark benchmark has it: of 50 events one is a new person, three are new
//! auctions, and the rest are bids, most of them on what is new.

use edge_db::{Entry, Time};

/// 2026 began, in microseconds.
pub(crate) const NEW_YEAR: i64 = 1_767_225_600 * SECOND;
pub(crate) const SECOND: i64 = 1_000_000;
/// When the first event came: five minutes before eight, so that there are two times of a day.
const BEGIN: i64 = NEW_YEAR + (8 * 60 - 5) * 60 * SECOND;
/// Events come up to so much out of order; the watermarks wait longer.
const JITTER: u64 = 5_000_000;
const FIRST_ID: i64 = 1000;

#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) ts: i64,
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) city: &'static str,
    pub(crate) state: &'static str,
}

#[derive(Debug, Clone)]
pub(crate) struct Auction {
    pub(crate) ts: i64,
    pub(crate) id: i64,
    pub(crate) seller: i64,
    pub(crate) category: i64,
    pub(crate) expires: i64,
}

#[derive(Debug, Clone)]
pub(crate) struct Bid {
    pub(crate) ts: i64,
    /// When it came.
    pub(crate) arrived: i64,
    pub(crate) auction: i64,
    pub(crate) bidder: i64,
    pub(crate) price: i64,
    pub(crate) extra: String,
}

#[derive(Debug, Clone)]
pub(crate) enum Event {
    Person(Person),
    Auction(Auction),
    Bid(Bid),
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ mixed >> 31) % limit
    }

    fn number(&mut self, limit: u64) -> i64 {
        i64::try_from(self.below(limit)).unwrap()
    }

    /// One of the last of so many that were numbered from `FIRST_ID` on.
    fn recent(&mut self, count: i64, most: i64) -> i64 {
        let back = self.number(most.unsigned_abs()).min(count - 1);
        FIRST_ID + count - 1 - back
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}

/// So many events, ten a second; and one of each kind an hour later, which closes all windows.
pub(crate) fn events(seed: u64, count: i64) -> Vec<Event> {
    let mut random = Random(seed);
    let (mut persons, mut auctions) = (0, 0);
    let hour = (0..3).map(|kind| (count + 36_000, kind));
    let numbers = (0..count)
        .map(|number| (number, number % 50))
        .chain(hour.map(|(at, kind)| (at, [0, 1, 4][kind])));
    let mut events = Vec::new();
    for (number, kind) in numbers {
        let arrived = BEGIN + number * SECOND / 10;
        let ts = arrived - random.number(JITTER);
        events.push(match kind {
            0 => {
                persons += 1;
                Event::Person(Person {
                    ts,
                    id: FIRST_ID + persons - 1,
                    name: format!(
                        "{} {}",
                        random.of(&["Ann", "Bo", "Cy"]),
                        random.of(&["Lee", "Ray"])
                    ),
                    city: random.of(&["Bend", "Boise", "Fresno", "Tacoma"]),
                    state: random.of(&["OR", "ID", "CA", "WA", "AZ"]),
                })
            }
            1..=3 => {
                auctions += 1;
                Event::Auction(Auction {
                    ts,
                    id: FIRST_ID + auctions - 1,
                    seller: random.recent(persons, 5),
                    category: 10 + random.number(5),
                    expires: ts + (5 + random.number(50)) * SECOND,
                })
            }
            _ => {
                let spread = random.of(&[2, 20, 300]);
                let digits = random.of(&[100u64, 10_000, 1_000_000, 100_000_000]);
                Event::Bid(Bid {
                    ts,
                    arrived,
                    auction: random.recent(auctions.max(1), spread),
                    bidder: random.recent(persons, 10),
                    price: 100 + random.number(digits),
                    extra: (0..random.below(20))
                        .map(|_| random.of(&['a', 'b', 'c', 'd']))
                        .collect(),
                })
            }
        });
    }
    events
}

impl Event {
    /// The name of its Log, and its record there.
    pub(crate) fn record(&self) -> (&'static str, Entry) {
        match self {
            Event::Person(Person { ts, id, name, city, state }) => (
                "persons",
                Entry::new(format!(
                    r#"{{"ts":{ts},"id":{id},"name":"{name}","city":"{city}","state":"{state}"}}"#
                )),
            ),
            Event::Auction(Auction { ts, id, seller, category, expires }) => (
                "auctions",
                Entry::new(format!(
                    r#"{{"ts":{ts},"id":{id},"seller":{seller},"category":{category},"expires":{expires}}}"#
                )),
            ),
            Event::Bid(Bid { ts, arrived, auction, bidder, price, extra }) => {
                let payload = format!(
                    r#"{{"ts":{ts},"auction":{auction},"bidder":{bidder},"price":{price},"extra":"{extra}"}}"#
                );
                ("bids", Entry::new(payload).at(Time::from_micros(*arrived)))
            }
        }
    }
}
