//! What is kept for each key: its last rows, and what its functions carry on.

use std::collections::HashMap;

use arrow::array::{ArrayRef, MutableArrayData, make_array};
use arrow::compute::concat;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use datafusion::error::DataFusionError;
use datafusion::scalar::ScalarValue;

use super::carried::Carried;
use super::frame::Keep;
use super::function::{Function, Run};
use crate::error::OperatorError;

/// Rows that a key no longer needs hold memory until there are so many more than of those that it
/// does.
const SLACK_ROWS: usize = 16;

#[derive(Debug)]
pub(super) struct Keys {
    pub(super) functions: Vec<Function>,
    pub(super) keep: Keep,
    /// `None` where all rows are of one key.
    converter: Option<RowConverter>,
    width: usize,
    places: HashMap<Box<[u8]>, u32>,
    keys: Vec<Key>,
    /// Places whose keys are gone.
    free: Vec<u32>,
    /// Whether functions carry something on, so that a key never goes.
    pub(super) carries: bool,
    next_number: u64,
    arguments: usize,
}

#[derive(Debug, Default)]
pub(super) struct Key {
    pub(super) bytes: Box<[u8]>,
    pub(super) rows: Kept,
    pub(super) carried: Vec<Carried>,
}

/// The last rows of a key, numbered through all keys.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pub(super) times: Vec<i64>,
    pub(super) numbers: Vec<u64>,
    pub(super) columns: Vec<ArrayRef>,
    /// Rows in front of the columns' first that still lie in the same memory.
    slack: usize,
}

impl Keys {
    pub(super) fn new(
        functions: Vec<Function>,
        keys: Vec<SortField>,
        arguments: usize,
    ) -> Result<Keys, DataFusionError> {
        let keep = functions.iter().fold(Keep::default(), |keep, one| keep.and(one.keep()));
        let mut carries = false;
        for function in &functions {
            carries |= !matches!(function.start()?, Carried::Nothing);
        }
        let width = keys.len();
        let converter = if width == 0 { None } else { Some(RowConverter::new(keys)?) };
        Ok(Keys {
            functions,
            keep,
            converter,
            width,
            places: HashMap::new(),
            keys: Vec::new(),
            free: Vec::new(),
            carries,
            next_number: 0,
            arguments,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Columns of a key.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Columns that are kept of each row.
    pub(super) fn arguments(&self) -> usize {
        self.arguments
    }

    /// What the key carries for a function, as values of one row.
    pub(super) fn state(
        &mut self,
        place: u32,
        function: usize,
        arguments: &[DataType],
    ) -> Result<Vec<ScalarValue>, DataFusionError> {
        self.keys[place as usize].carried[function].state(&self.functions[function], arguments)
    }

    pub(super) fn get(&self, place: u32) -> &Key {
        &self.keys[place as usize]
    }

    pub(super) fn get_mut(&mut self, place: u32) -> &mut Key {
        &mut self.keys[place as usize]
    }

    pub(super) fn places(&self) -> impl Iterator<Item = u32> + use<> {
        let mut places: Vec<_> = self.places.values().copied().collect();
        places.sort_unstable();
        places.into_iter()
    }

    pub(super) fn next_number(&self) -> u64 {
        self.next_number
    }

    /// The place of each row's key; new ones get one.
    pub(super) fn places_of(
        &mut self,
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<Vec<u32>, DataFusionError> {
        let Some(converter) = &self.converter else {
            let place = self.place_of(&[])?;
            return Ok(vec![place; rows]);
        };
        let converted = converter.convert_columns(columns)?;
        converted.iter().map(|row| self.place_of(row.as_ref())).collect()
    }

    fn place_of(&mut self, bytes: &[u8]) -> Result<u32, DataFusionError> {
        if let Some(place) = self.places.get(bytes) {
            return Ok(*place);
        }
        let carried = self.functions.iter().map(Function::start).collect::<Result<_, _>>()?;
        let key = Key { bytes: bytes.into(), rows: Kept::default(), carried };
        let place = match self.free.pop() {
            Some(place) => {
                self.keys[place as usize] = key;
                place
            }
            None => {
                self.keys.push(key);
                u32::try_from(self.keys.len() - 1).expect("the limit of state is far below")
            }
        };
        self.places.insert(bytes.into(), place);
        Ok(place)
    }

    /// The columns of these keys, row by row.
    pub(super) fn columns_of<'a>(
        &self,
        keys: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>, DataFusionError> {
        let Some(converter) = &self.converter else { return Ok(Vec::new()) };
        let parser = converter.parser();
        Ok(converter.convert_rows(keys.map(|bytes| parser.parse(bytes)))?)
    }

    /// The functions' values for new rows of one key, which then are the last ones that it keeps.
    pub(super) fn evaluate(
        &mut self,
        place: u32,
        columns: &[ArrayRef],
        times: &[i64],
    ) -> Result<Vec<ArrayRef>, OperatorError> {
        let numbers = self.next_number..self.next_number + times.len() as u64;
        self.next_number = numbers.end;
        let key = &mut self.keys[place as usize];
        let new = key.rows.times.len();
        key.rows.append(columns, times, numbers)?;
        let run = Run { columns: &key.rows.columns, times: &key.rows.times, new };
        let each = self.functions.iter().zip(&mut key.carried);
        let values = each.map(|(function, carried)| function.evaluate(&run, carried));
        Ok(values.collect::<Result<_, DataFusionError>>()?)
    }

    /// Lets go of the rows of a key that no later row looks at, and of the key with its last one;
    /// calls `gone` with each row's number.
    pub(super) fn trim(
        &mut self,
        place: u32,
        watermark: i64,
        mut gone: impl FnMut(u64),
    ) -> Result<(), ArrowError> {
        let key = &mut self.keys[place as usize];
        let passed = self.keep.passed(&key.rows.times, watermark);
        key.rows.numbers[..passed].iter().for_each(|number| gone(*number));
        key.rows.drop_first(passed)?;
        if key.rows.times.is_empty() && !self.carries {
            self.places.remove(&key.bytes);
            *key = Key::default();
            self.free.push(place);
        }
        Ok(())
    }

    /// Takes over rows of one key, all older than any that come later.
    pub(super) fn restore(
        &mut self,
        place: u32,
        columns: &[ArrayRef],
        times: &[i64],
        numbers: &[u64],
    ) -> Result<(), OperatorError> {
        let next = numbers.last().map_or(0, |last| last + 1);
        self.next_number = self.next_number.max(next);
        self.keys[place as usize].rows.append(columns, times, numbers.iter().copied())
    }
}

impl Kept {
    fn append(
        &mut self,
        columns: &[ArrayRef],
        times: &[i64],
        numbers: impl Iterator<Item = u64>,
    ) -> Result<(), OperatorError> {
        if self.times.is_empty() {
            self.columns = columns.iter().map(copy).collect::<Result<_, _>>()?;
        } else {
            for (kept, new) in self.columns.iter_mut().zip(columns) {
                *kept = concat(&[&*kept, new])?;
            }
        }
        self.slack = 0;
        self.times.extend_from_slice(times);
        self.numbers.extend(numbers);
        Ok(())
    }

    fn drop_first(&mut self, rows: usize) -> Result<(), ArrowError> {
        if rows == 0 {
            return Ok(());
        }
        self.times.drain(..rows);
        self.numbers.drain(..rows);
        self.slack += rows;
        let left = self.times.len();
        for column in &mut self.columns {
            *column = column.slice(rows, left);
        }
        if self.slack > left + SLACK_ROWS {
            self.columns = self.columns.iter().map(copy).collect::<Result<_, _>>()?;
            self.slack = 0;
        }
        Ok(())
    }
}

/// The same values in memory of their own: a slice holds all of the batch that it was cut from.
fn copy(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let data = column.to_data();
    let mut copy = MutableArrayData::new(vec![&data], false, data.len());
    copy.try_extend(0, 0, data.len())?;
    Ok(make_array(copy.freeze()))
}
