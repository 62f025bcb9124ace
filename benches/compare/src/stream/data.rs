//! The rows, as JSON lines, and what is to come of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::Result;

/// Event time of the first row, in milliseconds: New Year 2026.
const FIRST_MS: i64 = 1_767_225_600_000;
/// Rows in a second of event time.
const PER_SECOND: u64 = 10_000;
/// Rows come up to so much later than others that are newer.
const JITTER_MS: u64 = 500;
/// What a watermark has to allow for that, in seconds.
#[cfg_attr(not(feature = "stream"), allow(dead_code, reason = "the engines allow for it"))]
pub(super) const DELAY_SECONDS: u64 = 1;
/// Rows that are not warmer are left out: one of three.
pub(super) const LEAST_TEMP: f64 = 20.0;

/// Devices that send in turn, and how many rows they make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Data {
    pub(super) rows: u64,
    pub(super) devices: u64,
    pub(super) habit: Habit,
}

/// When a device sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Habit {
    /// All the time; 10,000 rows a second in all.
    Steady,
    /// Once a second for 20 seconds, and then not for 40: sessions begin and end all the time.
    Bursts,
}

/// One reading.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    pub(super) device: u64,
    pub(super) ms: i64,
    pub(super) temp: f64,
    hum: f64,
}

impl Data {
    /// Each device sends as often as the others, in an order that looks like none.
    pub(super) fn reading(self, row: u64) -> Reading {
        let mixed = mix(row);
        let (device, ms) = match self.habit {
            Habit::Steady => ((row * 7_919) % self.devices, row * 1_000 / PER_SECOND),
            Habit::Bursts => {
                let sending = self.devices / 3;
                let (second, place) = (row / sending, row % sending);
                // Who sends moves on by a part of the devices each second.
                ((place + second * (self.devices / 60)) % self.devices, second * 1_000)
            }
        };
        Reading {
            device,
            ms: FIRST_MS + (ms + mixed % JITTER_MS).cast_signed(),
            temp: hundredths(1_500 + (mixed >> 16) % 1_500),
            hum: hundredths(3_000 + (mixed >> 32) % 6_000),
        }
    }

    pub(super) fn readings(self) -> impl Iterator<Item = Reading> {
        (0..self.rows).map(move |row| self.reading(row))
    }

    /// Writes them as lines of JSON.
    pub(super) fn write(self, path: &Path) -> Result<()> {
        let mut file = BufWriter::new(File::create(path)?);
        for reading in self.readings() {
            writeln!(file, "{}", reading.line())?;
        }
        Ok(file.flush()?)
    }
}

impl Reading {
    /// As a device sends it.
    pub(super) fn line(self) -> String {
        let Reading { device, ms, temp, hum } = self;
        format!(r#"{{"device":"device-{device:04}","ts":{ms},"temp":{temp:.2},"hum":{hum:.2}}}"#)
    }
}

/// Spreads numbers over all bits (SplitMix64: Steele, Lea, Flood 2014).
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

#[expect(clippy::cast_precision_loss, reason = "it is below a few thousand")]
fn hundredths(number: u64) -> f64 {
    number as f64 / 100.0
}

/// The aggregates of one device in one window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Group {
    pub(super) avg: f64,
    pub(super) min: f64,
    pub(super) max: f64,
    pub(super) count: u64,
}

/// By the start of the window in milliseconds, and the device.
pub(super) type Answer = BTreeMap<(i64, String), Group>;

/// What sessions of rows that are less than `gap` milliseconds behind one another make of them; each
/// under the time of its first row.
pub(super) fn sessions(readings: impl Iterator<Item = Reading>, gap: i64) -> Answer {
    let mut rows: Vec<_> = readings.filter(|reading| reading.temp > LEAST_TEMP).collect();
    rows.sort_by_key(|reading| (reading.device, reading.ms));
    let together =
        |a: &Reading, b: &Reading| a.device == b.device && b.ms.abs_diff(a.ms) < gap.unsigned_abs();
    let sessions = rows.chunk_by(together).map(|rows| {
        let temps = || rows.iter().map(|reading| reading.temp);
        let group = Group {
            avg: temps().sum::<f64>() / rows.len() as f64,
            min: temps().fold(f64::INFINITY, f64::min),
            max: temps().fold(f64::NEG_INFINITY, f64::max),
            count: rows.len() as u64,
        };
        ((rows[0].ms, format!("device-{:04}", rows[0].device)), group)
    });
    sessions.collect()
}

/// What windows of so many milliseconds, one each `slide`, make of rows; computed without any of the
/// engines.
pub(super) fn windows(readings: impl Iterator<Item = Reading>, size: i64, slide: i64) -> Answer {
    let mut sums: BTreeMap<(i64, u64), Group> = BTreeMap::new();
    for Reading { device, ms, temp, .. } in readings.filter(|reading| reading.temp > LEAST_TEMP) {
        let mut start = ms - ms.rem_euclid(slide);
        while start > ms - size {
            let first = Group { avg: 0.0, min: temp, max: temp, count: 0 };
            let group = sums.entry((start, device)).or_insert(first);
            group.avg += temp;
            group.min = group.min.min(temp);
            group.max = group.max.max(temp);
            group.count += 1;
            start -= slide;
        }
    }
    let named = sums.into_iter().map(|((start, device), group)| {
        let avg = group.avg / group.count as f64;
        ((start, format!("device-{device:04}")), Group { avg, ..group })
    });
    named.collect()
}

/// Whether both are the same but for the order in which numbers were added; else the first difference.
pub(super) fn compare(found: &Answer, expected: &Answer) -> Result<()> {
    for (key, expected) in expected {
        let Some(found) = found.get(key) else {
            return Err(format!("no row for {key:?}, which is {expected:?}").into());
        };
        let is_near = (found.avg - expected.avg).abs() <= 1e-9 * expected.avg.abs();
        let same_avg = Group { avg: expected.avg, ..*found };
        if !is_near || same_avg != *expected {
            return Err(format!("{found:?} for {key:?}, which is {expected:?}").into());
        }
    }
    match found.len() - expected.len() {
        0 => Ok(()),
        more => Err(format!("{more} rows too many").into()),
    }
}

/// Reads the lines `start,device,avg,min,max,count` that an engine has written.
pub(super) fn read(path: &Path) -> Result<Answer> {
    let text = std::fs::read_to_string(path)?;
    let mut answer = Answer::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split(',').collect();
        let [start, device, avg, min, max, count] = cells[..] else {
            return Err(format!("`{line}` is no row of an answer").into());
        };
        let group = Group {
            avg: avg.parse()?,
            min: min.parse()?,
            max: max.parse()?,
            count: count.parse()?,
        };
        let before = answer.insert((start.parse()?, device.to_owned()), group);
        if before.is_some() {
            return Err(format!("window {start} of {device} is there twice").into());
        }
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: Data = Data { rows: 50_000, devices: 10, habit: Habit::Steady };

    #[test]
    fn every_device_sends_as_often_and_few_rows_are_out_of_order() {
        let mut counts = [0; 10];
        let mut newest = i64::MIN;
        for reading in DATA.readings() {
            counts[usize::try_from(reading.device).unwrap()] += 1;
            newest = newest.max(reading.ms);
            assert!(reading.ms > newest - 1_000 * DELAY_SECONDS.cast_signed());
        }
        assert_eq!(counts, [5_000; 10]);
    }

    #[test]
    fn each_row_is_in_as_many_windows_as_lie_over_it() {
        let warm = DATA.readings().filter(|reading| reading.temp > LEAST_TEMP).count() as u64;
        let counted = |answer: Answer| answer.values().map(|group| group.count).sum::<u64>();
        assert_eq!(counted(windows(DATA.readings(), 1_000, 1_000)), warm);
        assert_eq!(counted(windows(DATA.readings(), 3_000, 1_000)), 3 * warm);
    }

    #[test]
    fn devices_that_send_in_bursts_have_a_session_for_each() {
        let data = Data { rows: 60_000, devices: 60, habit: Habit::Bursts };
        let answer = sessions(data.readings(), 30_000);
        let first: Vec<_> =
            answer.iter().filter(|((_, device), _)| device.ends_with("0030")).collect();
        assert!(first.len() > 10, "{}", first.len());
        assert!(first.iter().all(|(_, group)| group.count <= 21), "{first:?}");
    }

    #[test]
    fn answers_differ_by_a_row_a_value_or_a_row_too_many() {
        let expected = windows(DATA.readings(), 1_000, 1_000);
        compare(&expected, &expected).unwrap();
        let (first, group) = expected.first_key_value().unwrap();
        let changed = |change: fn(&mut Answer, &(i64, String), Group)| {
            let mut found = expected.clone();
            change(&mut found, first, *group);
            compare(&found, &expected)
        };
        assert!(
            changed(|found, first, _| {
                found.remove(first);
            })
            .is_err()
        );
        assert!(
            changed(|found, first, group| {
                found.insert(first.clone(), Group { count: group.count + 1, ..group });
            })
            .is_err()
        );
        assert!(
            changed(|found, _, group| {
                found.insert((0, String::new()), group);
            })
            .is_err()
        );
    }
}
