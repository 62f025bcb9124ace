//! Tokens of a JSON text. `None` stands for what is no JSON, and for what is rare in it.

use std::borrow::Cow;

/// Levels of lists and objects in a value that nobody wants.
const MAX_DEPTH: usize = 32;

/// A place in a text.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// A number, taken apart: `mantissa` × 10^`exponent`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number<'a> {
    pub(super) text: &'a str,
    is_negative: bool,
    /// Exact, if there are at most 18 digits.
    mantissa: u64,
    digits: usize,
    exponent: i32,
    is_whole: bool,
}

impl<'a> Scan<'a> {
    pub(super) fn new(text: &'a str) -> Scan<'a> {
        Scan { text, at: 0 }
    }

    #[inline]
    fn bytes(&self) -> &'a [u8] {
        self.text.as_bytes()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes().get(self.at).copied()
    }

    #[inline]
    fn skip_space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// The first byte of what comes next.
    #[inline]
    pub(super) fn first(&mut self) -> Option<u8> {
        self.skip_space();
        self.peek()
    }

    /// Whether this byte comes next; it is taken then.
    #[inline]
    pub(super) fn takes(&mut self, byte: u8) -> bool {
        let is_next = self.first() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    /// The same of several bytes.
    #[inline]
    pub(super) fn takes_all(&mut self, bytes: &[u8]) -> bool {
        self.skip_space();
        let is_next = self.bytes()[self.at..].starts_with(bytes);
        if is_next {
            self.at += bytes.len();
        }
        is_next
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    pub(super) fn expect_all(&mut self, bytes: &[u8]) -> Option<()> {
        self.takes_all(bytes).then_some(())
    }

    /// Whether nothing but space is left.
    #[inline]
    pub(super) fn is_at_end(&mut self) -> bool {
        self.first().is_none()
    }

    /// What lies up to the next quote, which is taken, if there is no escape in it. Stands behind the
    /// opening quote, as [`Scan::string`] does.
    #[inline]
    pub(super) fn plain_string(&mut self) -> Option<&'a str> {
        let rest = &self.bytes()[self.at..];
        let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        if rest[len] == b'\\' {
            return None;
        }
        let start = self.at;
        self.at += len + 1;
        Some(&self.text[start..start + len])
    }

    pub(super) fn string(&mut self) -> Option<Cow<'a, str>> {
        if let Some(plain) = self.plain_string() {
            return Some(Cow::Borrowed(plain));
        }
        let mut unescaped = String::new();
        loop {
            let rest = &self.bytes()[self.at..];
            let len = rest.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
            unescaped.push_str(&self.text[self.at..self.at + len]);
            self.at += len + 1;
            if rest[len] == b'"' {
                return Some(Cow::Owned(unescaped));
            }
            unescaped.push(self.escaped()?);
        }
    }

    /// The character of an escape, behind its backslash. Halves of a pair are left to others.
    fn escaped(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let digits = self.bytes().get(self.at..self.at + 4)?;
                self.at += 4;
                let digits = digits.iter().map(|digit| char::from(*digit).to_digit(16));
                let code = digits.reduce(|code, digit| Some(code? * 16 + digit?))?;
                return char::from_u32(code?);
            }
            _ => return None,
        })
    }

    /// A number as the standard has it (RFC 8259, section 6).
    #[inline]
    pub(super) fn number(&mut self) -> Option<Number<'a>> {
        let (bytes, start) = (self.bytes(), self.at);
        let is_negative = bytes.get(start) == Some(&b'-');
        let (mut at, mut mantissa, mut exponent) = (start + usize::from(is_negative), 0, 0i32);
        let leading_zero = bytes.get(at) == Some(&b'0');
        let whole = digits(bytes, &mut at, &mut mantissa);
        if whole == 0 || (leading_zero && whole > 1) {
            return None;
        }
        let (mut count, mut is_whole) = (whole, true);
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            let fraction = digits(bytes, &mut at, &mut mantissa);
            (count, is_whole) = (count + fraction, false);
            exponent = -i32::try_from(fraction).ok().filter(|fraction| *fraction > 0)?;
        }
        if let Some(b'e' | b'E') = bytes.get(at) {
            at += 1;
            is_whole = false;
            let is_down = bytes.get(at) == Some(&b'-');
            at += usize::from(matches!(bytes.get(at), Some(b'-' | b'+')));
            let mut power = 0;
            if !(1..=4).contains(&digits(bytes, &mut at, &mut power)) {
                return None;
            }
            let power = i32::try_from(power).ok()?;
            exponent += if is_down { -power } else { power };
        }
        self.at = at;
        let text = &self.text[start..at];
        Some(Number { text, is_negative, mantissa, digits: count, exponent, is_whole })
    }

    /// Goes past a value of any kind.
    pub(super) fn skip_value(&mut self) -> Option<()> {
        self.skip_nested(MAX_DEPTH)
    }

    fn skip_nested(&mut self, depth: usize) -> Option<()> {
        match self.first()? {
            b'"' => {
                self.at += 1;
                self.string().map(drop)
            }
            b'-' | b'0'..=b'9' => self.number().map(drop),
            b't' => self.expect_all(b"true"),
            b'f' => self.expect_all(b"false"),
            b'n' => self.expect_all(b"null"),
            b'{' => self.skip_items(b'}', depth.checked_sub(1)?),
            b'[' => self.skip_items(b']', depth.checked_sub(1)?),
            _ => None,
        }
    }

    /// Goes past a list or an object, up to the bracket that closes it.
    fn skip_items(&mut self, close: u8, depth: usize) -> Option<()> {
        self.at += 1;
        if self.takes(close) {
            return Some(());
        }
        loop {
            if close == b'}' {
                self.expect(b'"')?;
                self.string()?;
                self.expect(b':')?;
            }
            self.skip_nested(depth)?;
            if !self.takes(b',') {
                return self.expect(close);
            }
        }
    }
}

/// Appends digits to a number; how many there were. Beyond 19 of them it means nothing.
#[inline]
fn digits(bytes: &[u8], at: &mut usize, number: &mut u64) -> usize {
    let start = *at;
    while let Some(digit @ b'0'..=b'9') = bytes.get(*at) {
        *number = number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
        *at += 1;
    }
    *at - start
}

impl Number<'_> {
    /// A whole number, written without fraction and exponent.
    #[inline]
    pub(super) fn whole(self) -> Option<i64> {
        if !self.is_whole || self.digits > 18 {
            return None;
        }
        let number = self.mantissa.cast_signed();
        Some(if self.is_negative { -number } else { number })
    }

    /// The nearest number that a DOUBLE has.
    #[inline]
    #[expect(clippy::cast_precision_loss, reason = "15 digits fit into a DOUBLE")]
    pub(super) fn double(self) -> Option<f64> {
        // Both are exact then, and what comes of them is rounded once (Clinger 1990).
        const EXACT: [f64; 23] = [
            1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
            1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
        ];
        let power = EXACT.get(usize::try_from(self.exponent.unsigned_abs()).ok()?);
        let Some(power) = power.filter(|_| self.digits <= 15) else {
            return self.text.parse().ok();
        };
        let mantissa = self.mantissa as f64;
        let number = if self.exponent < 0 { mantissa / power } else { mantissa * power };
        Some(if self.is_negative { -number } else { number })
    }
}
