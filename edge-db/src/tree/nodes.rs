//! redb's file format 3, as far as it takes to read a table without redb: what redb refuses to
//! open, or answers no more after one damaged page, can be read page by page this way.
//!
//! ```text
//! block 0   9  "redb" 1A 0A A9 0D 0A
//!           1  bit 0: the commit slot that counts; bit 2: it was synced before it counted
//!          16  4 pages in front of a region
//!          20  4 pages of a region
//!          64  two commit slots of 128: 1 format, 1 whether there are tables, 1 whether there is
//!              bookkeeping, 5, two roots of 32, 32, 8 number of the transaction, .., 16 XXH3-128
//! root      8 page, 16 XXH3-128 of its used part, 8 number of entries below
//! page      20 bits index in the region, 20 bits region, 19, 5 bits its size: 4096 << size
//! leaf      1, 0, 2 pairs, ends of keys, ends of values (4 each), keys, values
//! branch    2, 0, 2 keys, 4, checksums of children (16), pages of children (8), ends of keys (4),
//!           keys: child n has what is behind key n - 1, up to and with key n
//! ```
//! Numbers are little-endian. Where keys or values have a fixed width there are no ends of them.
//! A page is whole if its checksum is the one that its parent has for it.

use twox_hash::XxHash3_128;

const PAGE_BYTES: u64 = 4096;
const MAGIC: &[u8; 9] = b"redb\x1A\x0A\xA9\x0D\x0A";
const SLOTS: [usize; 2] = [64, 192];
const SLOT_BYTES: usize = 128;
const FORMAT: u8 = 3;
/// What redb gives a file that it creates: no pages in front of a region, 4 GiB for each.
const USUAL: Geometry = Geometry { front_pages: 0, region_pages: 1 << 20 };

/// How pages are numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    front_pages: u32,
    region_pages: u32,
}

/// A page, and what it must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pointer {
    page: u64,
    checksum: u128,
}

/// A tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) pointer: Pointer,
    /// How many entries there are.
    pub(super) length: u64,
}

/// One commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// The tree of tables.
    pub(super) tables: Option<Root>,
    /// The tree of redb's own tables.
    pub(super) bookkeeping: Option<Root>,
    /// Whether this is the commit that counts, by the first block.
    pub(super) is_primary: bool,
}

/// What the first block says.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) geometries: [Geometry; 2],
    /// The commits whose checksums hold, the one that counts first.
    pub(super) slots: Vec<Slot>,
    /// Whether this is a file of redb at all.
    pub(super) has_magic: bool,
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    bytes.get(at..)?.first_chunk().map(|bytes| usize::from(u16::from_le_bytes(*bytes)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

fn u128_at(bytes: &[u8], at: usize) -> Option<u128> {
    bytes.get(at..)?.first_chunk().map(|bytes| u128::from_le_bytes(*bytes))
}

fn size_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

impl Header {
    pub(super) fn parse(block: &[u8]) -> Header {
        let flags = block.get(9).copied().unwrap_or_default();
        let primary = usize::from(flags & 1 != 0);
        let stored = Geometry {
            front_pages: u32_at(block, 16).unwrap_or_default(),
            region_pages: u32_at(block, 20).unwrap_or_default(),
        };
        let order = [primary, 1 - primary];
        let slots = order.iter().filter_map(|slot| Slot::parse(block, *slot, *slot == primary));
        Header {
            geometries: [stored, USUAL],
            slots: slots.collect(),
            has_magic: block.starts_with(MAGIC),
        }
    }
}

impl Slot {
    fn parse(block: &[u8], number: usize, is_primary: bool) -> Option<Slot> {
        let slot = block.get(SLOTS[number]..)?.get(..SLOT_BYTES)?;
        let checked = SLOT_BYTES - 16;
        if slot[0] != FORMAT || u128_at(slot, checked)? != checksum(&slot[..checked]) {
            return None;
        }
        let root = |there: usize, at: usize| (slot[there] != 0).then(|| Root::at(slot, at));
        let (tables, bookkeeping) = (root(1, 8), root(2, 40));
        Some(Slot { tables: tables.flatten(), bookkeeping: bookkeeping.flatten(), is_primary })
    }
}

impl Root {
    fn at(bytes: &[u8], at: usize) -> Option<Root> {
        let pointer = Pointer { page: u64_at(bytes, at)?, checksum: u128_at(bytes, at + 8)? };
        Some(Root { pointer, length: u64_at(bytes, at + 24)? })
    }
}

impl Pointer {
    /// Where the page lies: offset and length.
    pub(super) fn place(self, geometry: Geometry) -> Option<(u64, u64)> {
        let order = u32::try_from(self.page >> 59).ok()?;
        if order > 20 {
            return None;
        }
        let index = self.page & (0xF_FFFF >> order);
        let region = (self.page >> 20) & 0xF_FFFF;
        let length = PAGE_BYTES << order;
        let front = u64::from(geometry.front_pages);
        let region_pages = region.checked_mul(front + u64::from(geometry.region_pages))?;
        let pages = region_pages.checked_add(1 + front)?;
        let offset = pages.checked_mul(PAGE_BYTES)?.checked_add(index.checked_mul(length)?)?;
        Some((offset, length))
    }

    /// Whether this is what the page holds.
    pub(super) fn fits(self, page: &[u8], widths: Widths) -> bool {
        let used = Node::parse(page, widths).and_then(|node| node.used());
        used.is_some_and(|used| checksum(used) == self.checksum)
    }
}

fn checksum(bytes: &[u8]) -> u128 {
    XxHash3_128::oneshot(bytes)
}

/// How long keys and values of a table are, where all are as long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Widths {
    key: Option<usize>,
    value: Option<usize>,
}

impl Widths {
    /// Those of the tree of tables, and of tables from bytes to bytes.
    pub(super) const NONE: Widths = Widths { key: None, value: None };
}

/// A table, as the tree of tables has it: what it holds, and its widths.
pub(super) fn table(definition: &[u8]) -> Option<(Option<Root>, Widths)> {
    let root = if *definition.get(9)? == 0 { None } else { Some(Root::at(definition, 10)?) };
    let width = |at: usize| match *definition.get(at)? {
        0 => Some(None),
        _ => size_at(definition, at + 1).map(Some),
    };
    Some((root, Widths { key: width(42)?, value: width(47)? }))
}

/// A page.
#[derive(Debug, Clone, Copy)]
pub(super) enum Node<'a> {
    Leaf(Leaf<'a>),
    Branch(Branch<'a>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Leaf<'a> {
    bytes: &'a [u8],
    pairs: usize,
    widths: Widths,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Branch<'a> {
    bytes: &'a [u8],
    keys: usize,
    width: Option<usize>,
}

impl<'a> Node<'a> {
    pub(super) fn parse(bytes: &'a [u8], widths: Widths) -> Option<Node<'a>> {
        let count = u16_at(bytes, 2)?;
        match bytes.first()? {
            1 if count > 0 => Some(Node::Leaf(Leaf { bytes, pairs: count, widths })),
            2 if count > 0 => Some(Node::Branch(Branch { bytes, keys: count, width: widths.key })),
            _ => None,
        }
    }

    /// The bytes that its checksum is of.
    fn used(&self) -> Option<&'a [u8]> {
        match self {
            Node::Leaf(leaf) => leaf.bytes.get(..leaf.value_end(leaf.pairs - 1)?),
            Node::Branch(branch) => branch.bytes.get(..branch.key_end(branch.keys - 1)?),
        }
    }
}

impl<'a> Leaf<'a> {
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        (0..self.pairs).map_while(move |n| self.entry(n))
    }

    fn entry(&self, n: usize) -> Option<(&'a [u8], &'a [u8])> {
        let (key_start, value_start) = match n.checked_sub(1) {
            None => (self.keys_start(), self.key_end(self.pairs - 1)?),
            Some(before) => (self.key_end(before)?, self.value_end(before)?),
        };
        let key = self.bytes.get(key_start..self.key_end(n)?)?;
        Some((key, self.bytes.get(value_start..self.value_end(n)?)?))
    }

    fn keys_start(&self) -> usize {
        let ends = [self.widths.key, self.widths.value].iter().filter(|w| w.is_none()).count();
        4 + 4 * self.pairs * ends
    }

    fn key_end(&self, n: usize) -> Option<usize> {
        match self.widths.key {
            Some(width) => width.checked_mul(n + 1)?.checked_add(self.keys_start()),
            None => size_at(self.bytes, 4 + 4 * n),
        }
    }

    fn value_end(&self, n: usize) -> Option<usize> {
        match self.widths.value {
            Some(width) => width.checked_mul(n + 1)?.checked_add(self.key_end(self.pairs - 1)?),
            None => {
                let keys = if self.widths.key.is_none() { self.pairs } else { 0 };
                size_at(self.bytes, 4 + 4 * (keys + n))
            }
        }
    }
}

impl<'a> Branch<'a> {
    pub(super) fn children(self) -> impl Iterator<Item = Option<Pointer>> {
        (0..=self.keys).map(move |n| self.child(n))
    }

    fn child(&self, n: usize) -> Option<Pointer> {
        let page = u64_at(self.bytes, 8 + 16 * (self.keys + 1) + 8 * n)?;
        Some(Pointer { page, checksum: u128_at(self.bytes, 8 + 16 * n)? })
    }

    /// The child that has a key, if there is it.
    pub(super) fn child_of(&self, key: &[u8]) -> Option<Pointer> {
        let behind = (0..self.keys).find(|n| self.key(*n).is_none_or(|last| key <= last));
        self.child(behind.unwrap_or(self.keys))
    }

    fn key(&self, n: usize) -> Option<&'a [u8]> {
        let start = match n.checked_sub(1) {
            None => self.keys_start(),
            Some(before) => self.key_end(before)?,
        };
        self.bytes.get(start..self.key_end(n)?)
    }

    fn keys_start(&self) -> usize {
        let ends = if self.width.is_none() { 4 * self.keys } else { 0 };
        8 + 24 * (self.keys + 1) + ends
    }

    fn key_end(&self, n: usize) -> Option<usize> {
        match self.width {
            Some(width) => width.checked_mul(n + 1)?.checked_add(self.keys_start()),
            None => size_at(self.bytes, 8 + 24 * (self.keys + 1) + 4 * n),
        }
    }
}
